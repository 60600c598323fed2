"""The Triton repository, read with Triton's own schema; no server has been asked."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from google.protobuf import text_format

from fpenet.deploy.bundle.triton import configs, engine_place
from fpenet.deploy.engines.targets import TARGETS
from tests.deploy.bundle.triton_models import read_config

KINDS = {1: "TYPE_FP32", 2: "TYPE_UINT8"}


@pytest.fixture
def repository(stages: SimpleNamespace) -> Path:
    folder: Path = stages.bundle / "cpu" / "triton"
    return folder


def kinds(config: object, which: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Tensor -> its type and shape, the batch's dimension among them."""
    batch = (-1,) if config.max_batch_size else ()  # type: ignore[attr-defined]
    number = type(config).DESCRIPTOR.fields_by_name[which].message_type  # type: ignore[attr-defined]
    names = number.fields_by_name["data_type"].enum_type.values_by_number
    return {
        tensor.name: (names[tensor.data_type].name, (*batch, *tensor.dims))
        for tensor in getattr(config, which)
    }


@pytest.mark.parametrize("name", ["fpenet_crops", "fpenet_engine", "fpenet_points"])
def test_each_configuration_is_that_of_its_network(repository: Path, name: str) -> None:
    config = read_config(repository / name / "config.pbtxt")
    assert config.name == name
    assert config.backend == "onnxruntime"
    graph = onnx.load(repository / name / "1" / "model.onnx").graph
    for which, values in (("input", graph.input), ("output", graph.output)):
        wanted = {}
        for value in values:
            tensor = value.type.tensor_type
            dims = tuple(dim.dim_value if dim.dim_value else -1 for dim in tensor.shape.dim)
            wanted[value.name] = (KINDS[tensor.elem_type], dims)
        found = kinds(config, which)
        assert set(found) == set(wanted)
        for tensor_name, (kind, dims) in wanted.items():
            assert found[tensor_name][0] == kind
            pairs = zip(found[tensor_name][1], dims, strict=True)
            assert all(own == other or other == -1 for own, other in pairs), tensor_name


def test_only_the_engine_batches_and_nothing_gives_a_heat_map(repository: Path) -> None:
    engine = read_config(repository / "fpenet_engine" / "config.pbtxt")
    assert engine.max_batch_size == 32
    assert list(engine.dynamic_batching.preferred_batch_size) == [8]
    assert engine.dynamic_batching.max_queue_delay_microseconds == 500
    assert [(group.count, group.kind) for group in engine.instance_group] == [(1, 2)]  # KIND_CPU
    folders = sorted(path.parent for path in repository.glob("*/config.pbtxt"))
    assert [folder.name for folder in folders] == sorted(configs(TARGETS["cpu"], 68, 32))
    for folder in folders:
        config = read_config(folder / "config.pbtxt")
        assert config.HasField("dynamic_batching") == (folder.name == "fpenet_engine")
        assert (folder / "1").is_dir()
        for name, (_, dims) in kinds(config, "output").items():
            assert np.prod(np.abs(dims)) <= 80 * 80, name  # a crop is the largest


def test_the_ensemble_joins_tensors_of_one_type_and_shape(repository: Path) -> None:
    config = read_config(repository / "fpenet" / "config.pbtxt")
    known = kinds(config, "input")
    for step in config.ensemble_scheduling.step:
        model = read_config(repository / step.model_name / "config.pbtxt")
        inputs, outputs = kinds(model, "input"), kinds(model, "output")
        assert set(step.input_map) == set(inputs)
        for key, value in step.input_map.items():
            assert known[value] == inputs[key]
        known |= {value: outputs[key] for key, value in step.output_map.items()}
    for name, kind in kinds(config, "output").items():
        assert known[name] == kind
    assert set(kinds(config, "output")) == {"keypoints_image", "confidence"}


def test_an_engine_that_its_device_builds_has_a_place(stages: SimpleNamespace) -> None:
    nano = stages.bundle / "nano" / "triton"
    assert read_config(nano / "fpenet_engine" / "config.pbtxt").backend == "tensorrt"
    assert read_config(nano / "fpenet_engine" / "config.pbtxt").max_batch_size == 8
    script = (stages.bundle / "nano" / "build.sh").read_text()
    assert f"cp 1/fp16.engine triton/{engine_place(TARGETS['nano'])}" in script


def test_triton_has_no_backend_for_rtx(stages: SimpleNamespace) -> None:
    assert engine_place(TARGETS["l4"]) is None
    assert not (stages.bundle / "l4" / "triton").exists()


def test_the_schema_refuses_what_triton_does_not_know(repository: Path, tmp_path: Path) -> None:
    text = (repository / "fpenet" / "config.pbtxt").read_text()
    (tmp_path / "config.pbtxt").write_text(text.replace("max_batch_size", "largest_batch"))
    with pytest.raises(text_format.ParseError, match="largest_batch"):
        read_config(tmp_path / "config.pbtxt")
