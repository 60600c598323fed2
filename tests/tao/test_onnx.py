"""A TAO graph, built here node by node, becomes our net with the same points."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fpenet.model.checkpoint import load_net
from fpenet.model.nets.recombinator import build_net
from fpenet.model.start_from import load_weights
from fpenet.tao.onnx import import_onnx

PAD = {1: [0, 0, 0, 0], 3: [1, 1, 1, 1], 5: [2, 2, 2, 2]}


class Graph:
    """The network of docs/fpenet.md as an ONNX graph; a test varies it by the arguments."""

    def __init__(
        self,
        keypoints: int,
        deconvolution: bool = True,
        head: bool = False,
        kernel: int = 3,
        width: int = 64,
        norm: bool = False,
        nhwc: bool = False,
        scale: float | None = None,
        extra: bool = False,
        missing: bool = False,
        swapped: bool = False,
        softargmax: bool = True,
        pool: str = "MaxPool",
    ) -> None:
        self.random = np.random.default_rng(1)
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self.norm, self.nhwc, self.count = norm, nhwc, 0
        current = "input_face_images"
        if scale is not None:
            current = self.add("Mul", current, self.put(np.float32(scale)))
        if nhwc:
            current = self.add("Transpose", current, perm=[0, 3, 1, 2])
        channels, kept = 1, []
        for number in range(4):
            current = self.block(current, channels, width if number == 1 else 64, 3)
            channels = width if number == 1 else 64
            kept.append((current, channels))
            current = self.add(pool, current, kernel_shape=[2, 2], strides=[2, 2])
        for size in (3, 1) if missing else (3, 3, 1):
            current, channels = self.block(current, channels, 64, size), 64
        if extra:
            current = self.block(current, 64, 64, 1)
        for skip, skipped in reversed(kept):
            if deconvolution:
                weight = self.put(self.draw(64, 64, 2, 2) * 0.15)
                current = self.add("ConvTranspose", current, weight, strides=[2, 2])
            else:
                sizes = self.put(np.array([1, 1, 2, 2], np.float32))
                more = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
                current = self.add("Resize", current, "", sizes, nearest_mode="floor", **more)
            pair = (skip, current) if swapped else (current, skip)
            current = self.add("Concat", *pair, axis=1)
            current = self.block(self.block(current, 64 + skipped, 64, kernel), 64, 64, 1)
        if head:
            current = self.block(current, 64, 64, 1)
        weight = self.put(self.draw(keypoints, 64, 1, 1) * 8)
        current = self.add("Conv", current, weight, self.put(self.draw(keypoints)))
        outputs: dict[str, list[str | int | None]]
        outputs = {"conv_keypoints:0": ["N", keypoints, 80, 80]}  # TAO's exports have it too
        self.nodes.append(helper.make_node("Identity", [current], list(outputs)))
        if softargmax:
            points, peak = self.softargmax(current, keypoints)
            outputs |= {points: ["N", keypoints, 2], peak: ["N", keypoints]}
        shape: list[str | int | None] = ["N", 80, 80, 1] if nhwc else ["N", 1, 80, 80]
        entry = helper.make_tensor_value_info("input_face_images", TensorProto.FLOAT, shape)
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, size)
            for name, size in outputs.items()
        ]
        graph = helper.make_graph(self.nodes, "fpenet", [entry], ends, self.weights)
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        self.model.ir_version = 8

    def draw(self, *shape: int) -> Any:
        return self.random.standard_normal(shape).astype(np.float32)

    def put(self, value: Any) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        self.count += 1
        output = f"{kind}_{self.count}:0"
        name = f"node_{self.count}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name, **attributes))
        return output

    def block(self, current: str, inputs: int, outputs: int, kernel: int) -> str:
        gain = np.sqrt(2 / (inputs * kernel * kernel))
        weight = self.put((self.draw(outputs, inputs, kernel, kernel) * gain).astype(np.float32))
        bias = self.draw(outputs) * np.float32(0.1)
        pads = {"pads": PAD[kernel]}
        if self.nhwc:  # as tf2onnx does: the bias is an Add behind a Transpose
            current = self.add("Conv", current, weight, **pads)
            current = self.add("Transpose", current, perm=[0, 2, 3, 1])
            current = self.add("Add", current, self.put(bias))
            current = self.add("Transpose", current, perm=[0, 3, 1, 2])
        else:
            current = self.add("Conv", current, weight, self.put(bias), **pads)
        if self.norm:
            gamma, shift, mean = (self.put(self.draw(outputs) * 0.1 + at) for at in (1.0, 0.1, 0.0))
            variance = self.put(np.abs(self.draw(outputs)) * np.float32(0.2) + np.float32(0.9))
            current = self.add("BatchNormalization", current, gamma, shift, mean, variance)
        return self.add("Relu", current)

    def softargmax(self, maps: str, keypoints: int) -> list[str]:
        """Soft-argmax: p = exp(beta (h - max h)) / sum; the confidence is the largest p."""
        maps = self.add("Mul", maps, self.put(np.float32(0.01)))
        cells = self.add("Reshape", maps, self.put(np.array([-1, keypoints, 6400])))
        largest = self.add("ReduceMax", cells, axes=[2], keepdims=1)
        cells = self.add("Exp", self.add("Sub", cells, largest))
        total = self.add("ReduceSum", cells, self.put(np.array([2])), keepdims=1)
        cells = self.add("Div", cells, total)
        index = np.arange(6400)
        grid = np.stack((index % 80, index // 80), 1).astype(np.float32)
        points = self.add("MatMul", cells, self.put(grid))
        peak = self.add("ReduceMax", cells, axes=[2], keepdims=0)
        names = ["softargmax/strided_slice:0", "softargmax/strided_slice_1:0"]
        for one, name in zip((points, peak), names, strict=True):
            self.nodes.append(helper.make_node("Identity", [one], [name]))
        return names


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        model: ModelProto = Graph(**{"keypoints": 12, **changes}).model
        path = tmp_path / "fpenet.onnx"
        onnx.save(model, path)
        return path

    return write


@pytest.mark.parametrize(
    ("net", "changes"),
    [
        ("public", {}),
        ("public", {"norm": True, "scale": 1 / 255, "nhwc": True, "keypoints": 80}),
        ("base", {"head": True}),
        ("release", {"head": True, "deconvolution": False}),
        ("base_5x5", {"kernel": 5}),
    ],
)
def test_a_graph_of_tao_becomes_our_net_with_the_same_points(
    net: str, changes: dict[str, Any], save: Callable[..., Path], tmp_path: Path
) -> None:
    summary = import_onnx(save(**changes), tmp_path / "out")
    keypoints = changes.get("keypoints", 12)
    assert (summary["net"], summary["num_keypoints"]) == (net, keypoints)
    assert summary["largest_difference_px"] < 0.02
    loaded, about = load_net(tmp_path / "out")
    assert about.net == net
    fresh = build_net(net, keypoints, batch_norm=True)
    assert load_weights(fresh, net, tmp_path / "out", new_head=False) == []
    with pytest.raises(ValueError, match="exists; give another folder"):
        import_onnx(tmp_path / "fpenet.onnx", tmp_path / "out")
    assert loaded.heatmaps.weight.shape[0] == keypoints


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"width": 48},
            r"layer node_4 is Conv \[48, 64, 3, 3\], wanted Conv \[64, 64, 3, 3\], enc",
        ),
        ({"extra": True}, r"layer node_19 is Conv \[64, 64, 1, 1\], wanted ConvTranspose \[64, 64"),
        ({"missing": True}, r"layer node_15 is Conv \[64, 64, 1, 1\], wanted Conv .*, trunk\.1\.0"),
        ({"pool": "AveragePool"}, r"layer node_3 is AveragePool, wanted MaxPool, pool"),
        ({"swapped": True}, r"of public, but on random crops its points differ from that net's by"),
        (
            {"softargmax": False},
            r"outputs of shapes \[\[1, 12, 80, 80\]\]; wanted one of \[12, 2\]",
        ),
    ],
)
def test_a_graph_that_is_not_ours_is_refused_by_its_first_layer_that_differs(
    changes: dict[str, Any], said: str, save: Callable[..., Path], tmp_path: Path
) -> None:
    path = save(**changes)
    with pytest.raises(ValueError, match=said):
        import_onnx(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.hdf5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(
        ValueError, match=r"model\.hdf5: neither \.yaml nor \.onnx; a \.hdf5, \.tlt"
    ):
        import_onnx(path, tmp_path / "out")
