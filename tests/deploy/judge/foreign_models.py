"""Small ONNX models of other people's kinds, whose points are known by hand."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_constant(
    path: Path,
    output: np.ndarray,
    shape: tuple[int | str, ...] = ("n", 3, 112, 112),
    confidence: np.ndarray | None = None,
    kind: int = TensorProto.FLOAT,
) -> Path:
    """Write a model with the same ``output`` (of one face) for each crop.

    Args:
        shape: of the input ``face``.
        confidence: (K,), an output ``score``; None: the model has only ``marks``.
    """
    outputs = {"marks": output} | ({} if confidence is None else {"score": confidence})
    nodes = [
        helper.make_node("Cast", ["face"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["float", "pixels"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "zero"], ["zeros"]),
    ]
    constants = {"pixels": np.array([1, 2, 3], np.int64), "zero": np.float32(0)}
    for name, values in outputs.items():
        constants[f"{name}_of_one"] = np.asarray(values, np.float32)[None]
        constants[f"{name}_axes"] = np.array([-1, *[1] * np.ndim(values)], np.int64)
        nodes += [
            helper.make_node("Reshape", ["zeros", f"{name}_axes"], [f"{name}_zeros"]),
            helper.make_node("Add", [f"{name}_of_one", f"{name}_zeros"], [name]),
        ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("face", kind, list(shape))],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [shape[0], *np.shape(values)])
            for name, values in outputs.items()
        ],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return _saved(graph, path)


def write_brightest(path: Path, size: int = 112) -> Path:
    """Write a model with one heat map: the level 0..1 of the first channel, (N, 1, size, size).

    Its only keypoint is where that channel (red in rgb order) is largest.
    """
    constants = {
        "starts": np.array([0], np.int64),
        "ends": np.array([1], np.int64),
        "axes": np.array([1], np.int64),
    }
    graph = helper.make_graph(
        [helper.make_node("Slice", ["face", "starts", "ends", "axes"], ["maps"])],
        "brightest",
        [helper.make_tensor_value_info("face", TensorProto.FLOAT, ["n", 3, size, size])],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["n", 1, size, size])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return _saved(graph, path)


def _saved(graph: onnx.GraphProto, path: Path) -> Path:
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path
