"""Export: what torch computes, at the opset asked for, in one file."""

import json
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto

from fpenet.data.crops.store import open_crops
from fpenet.deploy.int8.quantise import render_qdq
from fpenet.deploy.onnx import export
from fpenet.deploy.onnx.export import export_onnx, onnx_from_net
from fpenet.deploy.onnx.network import (
    float_activations,
    half_precision,
    heatmap_convolution,
    opset_of,
    read_network,
    tail_nodes,
)
from fpenet.deploy.onnx.onnx_file import CONFIDENCE, INPUT, KEYPOINTS
from fpenet.deploy.onnx.preprocess import end_to_end
from fpenet.model.checkpoint import load_net
from fpenet.model.nets.recombinator import build_net
from fpenet.params import Params

OPSETS = (13, 17)


def run(path: Path, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    session = onnxruntime.InferenceSession(path)
    points, confidence = session.run([KEYPOINTS, CONFIDENCE], {INPUT: images.astype(np.float32)})
    return points, confidence


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize(("precision", "px"), [("fp32", 0.001), ("fp32_cpu", 0.001), ("fp16", 0.1)])
def test_the_network_gives_the_points_of_torch_for_any_batch(
    stages: SimpleNamespace, opset: int, precision: str, px: float
) -> None:
    store = open_crops(stages.crop)
    images = store.images(store.rows("kpi"))
    net, _ = load_net(stages.train)
    with torch.inference_mode():
        points, confidence = (t.numpy() for t in net(torch.from_numpy(images).float()))
    for size in (1, 4):
        found, trust = run(stages.export / f"opset{opset}" / f"{precision}.onnx", images[:size])
        assert found.dtype == np.float32
        assert np.linalg.norm(found - points[:size], axis=2).mean() < px
        assert np.allclose(trust, confidence[:size], atol=0.01)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("precision", ["fp32", "fp32_cpu", "fp16"])
def test_inputs_and_outputs_have_our_names_and_no_heat_map_leaves(
    stages: SimpleNamespace, opset: int, precision: str
) -> None:
    model = read_network(stages.export / f"opset{opset}" / f"{precision}.onnx")
    assert opset_of(model) == opset
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in [*model.graph.input, *model.graph.output]
    }
    assert shapes == {INPUT: ["N", 1, 80, 80], KEYPOINTS: ["N", 68, 2], CONFIDENCE: ["N", 68]}
    types = {v.type.tensor_type.elem_type for v in [*model.graph.input, *model.graph.output]}
    assert types == {TensorProto.FLOAT}


def test_the_file_says_how_to_use_it(stages: SimpleNamespace) -> None:
    model = read_network(stages.export / "opset17" / "fp16.onnx")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["num_keypoints"] == "68"
    assert metadata["box_scale"] == "1.2"
    assert metadata["precision"] == "fp16"
    assert len(metadata["weights_sha256"]) == 64
    assert json.loads(metadata["regions"])["eyes"] == list(range(36, 48))
    assert metadata["fpenet"] == version("fpenet")


@pytest.mark.parametrize("num_keypoints", [1, 7])
def test_any_number_of_keypoints_goes_all_the_way(num_keypoints: int) -> None:
    torch.manual_seed(0)
    single = onnx_from_net(build_net("nano", num_keypoints).eval(), 17)
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 80, 80)).astype(np.float32)
    amax = {name: 300.0 for name in float_activations(single)}
    for model in (single, half_precision(single), render_qdq(single, amax)):
        session = onnxruntime.InferenceSession(model.SerializeToString())
        points, confidence = session.run([KEYPOINTS, CONFIDENCE], {INPUT: images})
        assert points.shape == (2, num_keypoints, 2)
        assert confidence.shape == (2, num_keypoints)
    session = onnxruntime.InferenceSession(end_to_end(single, 1.2).SerializeToString())
    feeds = {"image": np.zeros((90, 70, 1), np.uint8), "boxes": np.ones((3, 4), np.float32)}
    assert session.run(["keypoints_image"], feeds)[0].shape == (3, num_keypoints, 2)


def test_f25_an_exporter_that_gives_another_opset_is_refused(
    stages: SimpleNamespace, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = export.onnx_from_net
    monkeypatch.setattr(export, "onnx_from_net", lambda net, opset, products=False: real(net, 17))
    asked = params.export.model_copy(update={"opsets": (13,)})
    with pytest.raises(ValueError, match=r"opset13/fp32\.onnx: has opset 17, not 13"):
        export_onnx(train_dir=stages.train, export=asked, out_dir=tmp_path)


def test_the_file_format_is_no_newer_than_the_opset_needs(stages: SimpleNamespace) -> None:
    versions = [
        read_network(stages.export / f"opset{opset}" / "fp32.onnx").ir_version for opset in OPSETS
    ]
    assert versions == [7, 8]


def test_tensors_have_the_same_names_at_every_opset(stages: SimpleNamespace) -> None:
    old, new = (
        read_network(stages.export / f"opset{opset}" / "fp32.onnx").graph.node for opset in OPSETS
    )
    assert [list(node.output) for node in old] == [list(node.output) for node in new]


def test_half_precision_keeps_the_soft_argmax_in_single(stages: SimpleNamespace) -> None:
    model = read_network(stages.export / "opset17" / "fp16.onnx")
    assert {node.op_type for node in tail_nodes(model)} >= {"Softmax", "Mul", "ReduceSum"}
    assert "MatMul" not in {node.op_type for node in model.graph.node}
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    (softmax,) = (node for node in model.graph.node if node.op_type == "Softmax")
    assert types[softmax.input[0]] == types[softmax.output[0]] == TensorProto.FLOAT
    assert types[heatmap_convolution(model).output[0]] == TensorProto.FLOAT16
    weights = {t.name: t.data_type for t in model.graph.initializer if len(t.dims) == 4}
    assert set(weights.values()) == {TensorProto.FLOAT16}
    single = (stages.export / "opset17" / "fp32.onnx").stat().st_size
    assert (stages.export / "opset17" / "fp16.onnx").stat().st_size < 0.55 * single


def test_a_weight_too_large_for_half_precision_is_named(stages: SimpleNamespace) -> None:
    model = read_network(stages.export / "opset17" / "fp32.onnx")
    name = heatmap_convolution(model).input[1]
    (weight,) = (t for t in model.graph.initializer if t.name == name)
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[0] = 1e6
    weight.CopyFrom(onnx.numpy_helper.from_array(values, name))
    with pytest.raises(ValueError, match=f"weight {name}: 1e\\+06 has no finite FP16"):
        half_precision(model)


def test_a_file_that_is_no_network_is_named(tmp_path: Path, stages: SimpleNamespace) -> None:
    model = read_network(stages.export / "opset17" / "fp32.onnx")
    model.graph.node[3].op_type = "NoSuchOperator"
    (tmp_path / "odd.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"odd\.onnx: not a valid ONNX model"):
        read_network(tmp_path / "odd.onnx")
