"""Read a Triton model repository, and run its ONNX models with ONNX Runtime."""

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
    """Parse ``config.pbtxt`` with Triton's ModelConfig; an unknown key or type is an error."""
    package = importlib.util.find_spec("tritonclient")
    assert package is not None
    assert package.submodule_search_locations is not None
    # Load the module alone, because its package imports gRPC.
    file = Path(package.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return text_format.Parse(path.read_text(), module.ModelConfig())


def run_model(repository: Path, name: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
    """The outputs of the model ``name``; the steps of an ensemble run in the configured order."""
    config = read_config(repository / name / "config.pbtxt")
    assert set(inputs) == {tensor.name for tensor in config.input}
    outputs = [tensor.name for tensor in config.output]
    if config.platform != "ensemble":
        model = repository / name / "1" / "model.onnx"
        session = onnxruntime.InferenceSession(model.read_bytes())
        arrays = session.run(outputs, dict(inputs))
        return dict(zip(outputs, map(np.asarray, arrays), strict=True))
    tensors = dict(inputs)
    for step in config.ensemble_scheduling.step:
        step_inputs = {key: tensors[value] for key, value in step.input_map.items()}
        step_outputs = run_model(repository, step.model_name, step_inputs)
        tensors |= {value: step_outputs[key] for key, value in step.output_map.items()}
    return {name: tensors[name] for name in outputs}
