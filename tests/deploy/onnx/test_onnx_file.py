"""ONNX files of unknown origin: no weight lies anywhere else, and nothing but ONNX is read."""

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fpenet.deploy.onnx.onnx_file import read_onnx, refuse_external_data


def model_with(tensor: TensorProto | None = None, attribute: TensorProto | None = None) -> bytes:
    """A model that adds a weight to its input, or has a constant in a node or a branch."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    if attribute is not None:
        inside = helper.make_node("Constant", [], ["c"], value=attribute)
        branch = helper.make_graph([inside], "branch", [], [])
        nodes.append(helper.make_node("If", ["x"], ["z"], then_branch=branch, else_branch=branch))
    graph = helper.make_graph(nodes, "g", [value], [value], [tensor] if tensor else [])
    return bytes(helper.make_model(graph).SerializeToString())


def external(location: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def test_a_model_with_its_weights_inside_is_read(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones(1, np.float32), "w")
    data = model_with(weight, weight)
    (tmp_path / "net.onnx").write_bytes(data)
    assert read_onnx(tmp_path / "net.onnx") == data


@pytest.mark.parametrize("location", ["weights.bin", "/etc/passwd", "../../secret"])
def test_f24_weights_in_another_file_are_refused(location: str) -> None:
    with pytest.raises(ValueError, match=r"m\.onnx: its weights are in another file"):
        refuse_external_data(model_with(external(location)), "m.onnx")


def test_f24_weights_in_another_file_are_found_inside_a_branch_of_a_node() -> None:
    with pytest.raises(ValueError, match="another file"):
        refuse_external_data(model_with(attribute=external("w.bin")), "m.onnx")


def test_f24_a_location_without_the_external_flag_is_refused_too() -> None:
    tensor = external("w.bin")
    tensor.data_location = TensorProto.DEFAULT
    with pytest.raises(ValueError, match="another file"):
        refuse_external_data(model_with(tensor), "m.onnx")


@pytest.mark.parametrize(
    "data", [b"", b"not a model", b"\x80" * 40, ModelProto(producer_name="x").SerializeToString()]
)
def test_what_is_not_onnx_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"m\.onnx: not an ONNX file"):
        refuse_external_data(data, "m.onnx")


def test_a_model_cut_short_is_refused() -> None:
    data = model_with(numpy_helper.from_array(np.ones(100, np.float32), "w"))
    with pytest.raises(ValueError, match="not an ONNX file"):
        refuse_external_data(data[:-30], "m.onnx")


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.onnx: No such file"):
        read_onnx(tmp_path / "none.onnx")
