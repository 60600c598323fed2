"""DeepStream: the settings of docs/fpenet.md, boxes at the border, points from nvinfer's tensors.

No DeepStream is here: the probes run against a stand-in for ``pyds`` over real memory.
"""

import ast
import configparser
import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fpenet.deploy.bundle.fpenet_points import (
    Rect,
    face_points,
    face_rect,
    points_in_frame,
    square_faces,
)


def keys_of(path: Path) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read_string(path.read_text())
    return parsed


def test_nvinfer_takes_grey_levels_as_they_are_and_hands_out_tensors(
    stages: SimpleNamespace,
) -> None:
    folder = stages.bundle / "xavier-nx" / "deepstream"
    found = dict(keys_of(folder / "nvinfer.txt")["property"])
    wanted = {
        "model-color-format": "2",
        "net-scale-factor": "1.0",
        "offsets": "0.0",
        "network-type": "100",
        "output-tensor-meta": "1",
        "process-mode": "2",
        "operate-on-gie-id": "1",
        "maintain-aspect-ratio": "1",
        "symmetric-padding": "0",
        "batch-size": "8",
        "infer-dims": "1;80;80",
        "output-blob-names": "keypoints;confidence",
        "input-object-min-width": "5",
        "input-object-min-height": "5",
    }
    assert wanted.items() <= found.items()
    assert found["network-mode"] == "2"  # FP16, the least reduced while none was judged
    assert (folder / found["onnx-file"]).resolve().is_file()
    built = f"mv 1/fp16.partial {found['model-engine-file'].removeprefix('../')}"
    assert built in (folder.parent / "build.sh").read_text()


def test_nvdspreprocess_prepares_the_same_tensors(stages: SimpleNamespace) -> None:
    found = keys_of(stages.bundle / "orin-agx" / "deepstream" / "nvdspreprocess.txt")
    assert found["property"]["network-input-shape"] == "8;1;80;80"
    assert found["property"]["network-color-format"] == "2"
    assert found["property"]["tensor-name"] == "input_face_images"
    assert found["property"]["target-unique-ids"] == "2"
    assert found["user-configs"]["pixel-normalization-factor"] == "1.0"
    assert found["group-0"]["process-on-all-objects"] == "1"


def test_only_what_nvinfer_runs_has_configurations(stages: SimpleNamespace) -> None:
    having = {path.parent.name for path in stages.bundle.glob("*/deepstream")}
    assert having == {"nano", "xavier-nx", "orin-agx", "h200"}


def test_the_module_for_probes_stands_alone_on_an_old_python(stages: SimpleNamespace) -> None:
    source = (stages.bundle / "nano" / "deepstream" / "fpenet_points.py").read_text()
    tree = ast.parse(source, feature_version=(3, 6))
    modules = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert modules == {"ctypes", "collections.abc", "typing", "numpy"}


@pytest.mark.parametrize(
    ("box", "rect"),
    [
        ((100.0, 60.0, 80.0, 100.0), (80, 50, 120, 120)),  # 1.2 x 100 about (140, 110)
        ((-10.0, 60.0, 80.0, 100.0), (0, 50, 90, 120)),  # 30 px of 120 lie left of the frame
        ((600.0, 420.0, 80.0, 80.0), (592, 412, 48, 68)),
        ((101.3, 60.9, 33.0, 33.0), (98, 58, 40, 40)),  # even, within a pixel of the square
        ((700.0, 0.0, 50.0, 50.0), (696, 0, 0, 56)),  # beside the frame: nothing
    ],
)
def test_a_face_is_an_even_square_within_the_frame(
    box: tuple[float, float, float, float], rect: tuple[int, int, int, int]
) -> None:
    assert face_rect(box, 640, 480, 1.2) == rect


def scaled_by_nvinfer(frame: NDArray[np.uint8], rect: Rect) -> NDArray[np.float32]:
    """(80, 80) what nvinfer makes of a rectangle: its shape kept, from the corner, on black."""
    step = max(rect.width, rect.height) / 80
    size = (round(rect.width / step), round(rect.height / step))
    right, bottom = rect.left + rect.width, rect.top + rect.height
    part = Image.fromarray(frame[rect.top : bottom, rect.left : right])
    levels = np.zeros((80, 80), np.float32)
    levels[: size[1], : size[0]] = np.asarray(part.resize(size, Image.Resampling.BILINEAR))
    return levels


@pytest.mark.parametrize("middle", [(300, 200), (12, 200), (630, 470), (320, 5), (5, 478)])
def test_a_dot_is_found_where_it_is_at_the_border_too(middle: tuple[int, int]) -> None:
    y, x = np.mgrid[:480, :640]
    at = (middle[0] + 3.25 if middle[0] < 320 else middle[0] - 3.25, float(middle[1]))
    dot = 250 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 2 / 2.5**2)
    frame = dot.astype(np.uint8)
    rect = face_rect((middle[0] - 50.0, middle[1] - 50.0, 100.0, 100.0), 640, 480, 1.2)
    levels = scaled_by_nvinfer(frame, rect)
    peak = np.unravel_index(levels.argmax(), levels.shape)
    near = np.clip(np.array(peak), 2, 77)
    window = np.s_[near[0] - 2 : near[0] + 3, near[1] - 2 : near[1] + 3]
    weights = levels[window].astype(float)
    rows, columns = np.mgrid[window]
    seen = [(weights * columns).sum() / weights.sum(), (weights * rows).sum() / weights.sum()]
    assert points_in_frame(np.array(seen), rect) == pytest.approx(at, abs=0.6)


def linked(values: list[Any]) -> Any:
    """DeepStream's linked list."""
    node = None
    for value in reversed(values):
        node = SimpleNamespace(data=value, next=node)
    return node


@pytest.fixture
def pyds() -> Any:
    """What of ``pyds`` the probes use: casts are identities, a buffer is an address."""
    cast = SimpleNamespace(cast=lambda value: value)
    return SimpleNamespace(
        NvDsObjectMeta=cast,
        NvDsUserMeta=cast,
        NvDsInferTensorMeta=cast,
        NvDsMetaType=SimpleNamespace(NVDSINFER_TENSOR_OUTPUT_META=12),
        get_nvds_LayerInfo=lambda meta, number: meta.layers[number],
        get_ptr=lambda buffer: ctypes.addressof(buffer),
    )


def test_the_probes_square_the_boxes_and_read_the_points(pyds: Any) -> None:
    points = np.arange(10, dtype=np.float32).reshape(5, 2)
    memory = [(ctypes.c_float * array.size)(*array.ravel()) for array in (points, points[:, 0])]
    layers = [
        SimpleNamespace(layerName=name, buffer=buffer)
        for name, buffer in zip(("keypoints", "confidence"), memory, strict=True)
    ]
    meta = SimpleNamespace(unique_id=2, num_output_layers=2, layers=layers[::-1])
    other = SimpleNamespace(unique_id=9, num_output_layers=0, layers=[])
    tensor = SimpleNamespace(meta_type=12)
    face = SimpleNamespace(
        rect_params=SimpleNamespace(left=100.0, top=60.0, width=80.0, height=100.0),
        obj_user_meta_list=linked(
            [
                SimpleNamespace(base_meta=SimpleNamespace(meta_type=3), user_meta_data=None),
                SimpleNamespace(base_meta=tensor, user_meta_data=other),
                SimpleNamespace(base_meta=tensor, user_meta_data=meta),
            ]
        ),
    )
    frame = SimpleNamespace(obj_meta_list=linked([face]))
    square_faces(pyds, frame, 640, 480, 1.2)
    box = face.rect_params
    assert (box.left, box.top, box.width, box.height) == (80.0, 50.0, 120.0, 120.0)
    ((seen, found, confidence),) = face_points(pyds, frame, 5)
    assert seen is face
    # Crop pixel (0, 1) is 1.5 px wide: (0.5 * 1.5 - 0.5 + 80, 1.5 * 1.5 - 0.5 + 50).
    assert found[0] == pytest.approx([80.25, 51.75])
    assert confidence.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    memory[1][0] = 7.0
    assert confidence[0] == 0.0  # a copy: the tensor is nvinfer's
