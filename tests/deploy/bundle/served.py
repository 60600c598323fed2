"""A Triton repository as its server reads it, its ONNX models run by ONNX Runtime."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from google.protobuf import text_format
from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[Any]]


def read_config(path: Path) -> Any:
    """``config.pbtxt`` as Triton's own ModelConfig; an unknown key or type is an error."""
    package = importlib.util.find_spec("tritonclient")
    assert package is not None
    assert package.submodule_search_locations is not None
    # By itself: the package around it wants gRPC.
    file = Path(package.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return text_format.Parse(path.read_text(), module.ModelConfig())


def ask(repository: Path, name: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
    """What the model ``name`` answers; an ensemble step by step, as its configuration wires it."""
    config = read_config(repository / name / "config.pbtxt")
    assert set(inputs) == {tensor.name for tensor in config.input}
    wanted = [tensor.name for tensor in config.output]
    if config.platform != "ensemble":
        model = repository / name / "1" / "model.onnx"
        session = onnxruntime.InferenceSession(model.read_bytes())
        found = session.run(wanted, dict(inputs))
        return dict(zip(wanted, map(np.asarray, found), strict=True))
    tensors = dict(inputs)
    for step in config.ensemble_scheduling.step:
        given = {key: tensors[value] for key, value in step.input_map.items()}
        said = ask(repository, step.model_name, given)
        tensors |= {value: said[key] for key, value in step.output_map.items()}
    return {name: tensors[name] for name in wanted}
