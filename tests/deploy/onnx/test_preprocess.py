"""The crop as ONNX: the pixels and points of ``crops.geometry`` and ``Landmarker``."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from fpenet.data.crops.geometry import cut, face_crop_box
from fpenet.deploy.onnx.network import opset_of, read_network
from fpenet.deploy.onnx.preprocess import place, preprocess
from fpenet.deploy.runtime.landmarker import Landmarker, grey_levels

INSIDE = (100.3, 50.2, 120.7, 90.0)
AT_THE_CORNER = (-30.25, -20.0, 100.0, 130.0)
PAST_THE_END = (600.0, 450.0, 100.0, 100.0)
MUCH_OF_IT = (5.0, 5.0, 600.0, 470.0)
SMALL = (300.0, 200.0, 20.0, 25.0)
FAR_OUTSIDE = (-4000.0, 10.0, 100.0, 100.0)
BOXES = [INSIDE, AT_THE_CORNER, PAST_THE_END, MUCH_OF_IT, SMALL, FAR_OUTSIDE]


def picture(channels: int) -> NDArray[np.uint8]:
    """(480, 640, C) waves with noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:480, :640]
    waves = 128 + 60 * np.sin(x / 9) + 50 * np.cos(y / 7)
    levels = waves[..., None] + rng.normal(0, 15, (480, 640, channels))
    found: NDArray[np.uint8] = levels.clip(0, 255).astype(np.uint8)
    return found


def session_of(model_or_path: object) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model_or_path)


@pytest.mark.parametrize("opset", [13, 17, 20])
@pytest.mark.parametrize("channels", [1, 3])
def test_crops_are_those_of_training(opset: int, channels: int) -> None:
    image = picture(channels)
    session = session_of(preprocess(1.2, opset).SerializeToString())
    crops, squares = session.run(None, {"image": image, "boxes": np.array(BOXES, np.float32)})
    grey = grey_levels(np.ascontiguousarray(image[..., ::-1]) if channels == 3 else image[..., 0])
    for box, crop, square in zip(np.array(BOXES, np.float32).tolist(), crops, squares, strict=True):
        wanted = face_crop_box(box, 1.2)
        assert square == pytest.approx([wanted.center_x, wanted.center_y, wanted.side], abs=1e-3)
        assert np.array_equal(crop[0], cut(grey, wanted, 80))


def test_one_box_gives_what_it_gives_among_others() -> None:
    session = session_of(preprocess(1.2, 17).SerializeToString())
    together = session.run(None, {"image": picture(1), "boxes": np.array(BOXES, np.float32)})[0]
    for index, box in enumerate(BOXES):
        alone = session.run(None, {"image": picture(1), "boxes": np.array([box], np.float32)})[0]
        assert np.array_equal(alone[0], together[index])


def test_points_are_placed_by_hand() -> None:
    # A square of 160 px about (100, 50) shows two image pixels in each of the crop's; crop pixel
    # 39.5 is its middle.
    session = session_of(place(17).SerializeToString())
    points = np.array([[[39.5, 39.5], [40.5, 38.5]]], np.float32)
    (found,) = session.run(
        None, {"keypoints": points, "squares": np.array([[100.0, 50.0, 160.0]], np.float32)}
    )
    assert found.tolist() == [[[100.0, 50.0], [102.0, 48.0]]]


@pytest.mark.parametrize("opset", [13, 17])
def test_from_image_to_points_without_python_of_ours(stages: SimpleNamespace, opset: int) -> None:
    folder: Path = stages.export / f"opset{opset}"
    session = session_of(folder / "end_to_end.onnx")
    bgr = picture(3)
    points, confidence = session.run(
        ["keypoints_image", "confidence"],
        {"image": bgr, "boxes": np.array([INSIDE, AT_THE_CORNER], np.float32)},
    )
    landmarker = Landmarker(folder / "fp32_cpu.onnx", trusted="anyone")
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    for box, own, trust in zip((INSIDE, AT_THE_CORNER), points, confidence, strict=True):
        (face,) = landmarker.keypoints(rgb, box)
        assert np.linalg.norm(own - face.keypoints, axis=1).max() < 0.05 * max(box[2:]) * 1.2 / 80
        assert trust == pytest.approx(face.confidence, abs=0.01)


@pytest.mark.parametrize("name", ["preprocess", "place", "end_to_end"])
def test_the_files_say_what_they_take(stages: SimpleNamespace, name: str) -> None:
    for opset in (13, 17):
        model = read_network(stages.export / f"opset{opset}" / f"{name}.onnx")
        assert opset_of(model) == opset
        said = {entry.key: entry.value for entry in model.metadata_props}
        assert said["box_scale"] == "1.2"
        assert ("BGR" in said["input"]) == (name != "place")
