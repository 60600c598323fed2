"""One face, every path that a bundle offers: the same points to 0.05 px of the crop."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

import fpenet
from fpenet.cli.main import main
from fpenet.deploy.bundle.fpenet_points import face_rect, points_in_frame
from synthface import FaceSpec, render_face
from tests.deploy.bundle.triton_models import run_model

SCALE = 1.2
Points = NDArray[np.floating]
Shown = tuple[NDArray[np.uint8], tuple[float, float, float, float]]


@pytest.fixture(scope="module", params=["in the middle", "at the border"])
def shown(request: pytest.FixtureRequest) -> Shown:
    """A coloured image and the box of the face in it, anywhere between its pixels."""
    left = 320 if request.param == "in the middle" else 24
    face = render_face(FaceSpec(seed=7, yaw_deg=10.0, px_per_mm=0.8, centre_px=(left, 215.0)))
    x, y, width, height = face.face_box
    colour = face.image[..., None] * np.array([1.0, 0.8, 0.6])
    return np.rint(colour).astype(np.uint8), (x + 0.37, y - 1.21, width + 2.3, height)


@pytest.fixture(scope="module", params=["in the middle", "at the border"])
def shown_whole(request: pytest.FixtureRequest) -> Shown:
    """A grey image and a box whose square is 80 whole pixels: the scaler is DeepStream's own."""
    left = 320 if request.param == "in the middle" else 24
    face = render_face(FaceSpec(seed=7, yaw_deg=10.0, px_per_mm=0.5, centre_px=(left, 215.0)))
    side = 80 / SCALE
    box = (left - 0.5 - side / 2, 229.5 - side / 2, side, side)
    return np.repeat(face.image[..., None], 3, axis=2), box


def landmarker_points(stages: SimpleNamespace, shown: Shown, precision: str) -> Points:
    """What the Python runtime says, image pixels."""
    image, box = shown
    (face,) = fpenet.Landmarker(stages.bundle / "cpu", precision, threads=1).keypoints(image, box)
    return face.keypoints


def worst(found: Points, expected: Points, box: tuple[float, ...]) -> float:
    """Largest distance, pixels of the 80x80 crop."""
    return float(np.linalg.norm(found - expected, axis=1).max()) * 80 / (max(box[2:]) * SCALE)


def bgr(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image[..., ::-1])


def run(path: Path, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
    session = onnxruntime.InferenceSession(path.read_bytes())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_onnx_chain(stages: SimpleNamespace, shown: Shown, precision: str) -> None:
    image, box = shown
    folder = stages.bundle / "cpu"
    crops = run(folder / "preprocess.onnx", image=bgr(image), boxes=np.array([box], np.float32))
    said = run(folder / "1" / f"{precision}.onnx", input_face_images=crops["input_face_images"])
    placed = run(folder / "place.onnx", keypoints=said["keypoints"], squares=crops["squares"])
    expected = landmarker_points(stages, shown, precision)
    assert worst(placed["keypoints_image"][0], expected, box) < 0.05


def test_the_one_file_from_end_to_end(stages: SimpleNamespace, shown: Shown) -> None:
    image, box = shown
    path = stages.export / "opset17" / "end_to_end.onnx"
    said = run(path, image=bgr(image), boxes=np.array([box], np.float32))
    assert worst(said["keypoints_image"][0], landmarker_points(stages, shown, "fp32"), box) < 0.05


def test_the_triton_ensemble(stages: SimpleNamespace, shown: Shown) -> None:
    image, box = shown
    inputs: dict[str, NDArray[Any]] = {
        "image": bgr(image),
        "boxes": np.array([box, box], np.float32),
    }
    said = run_model(stages.bundle / "cpu" / "triton", "fpenet", inputs)
    assert said["confidence"].shape == (2, 68)
    for points in said["keypoints_image"]:
        assert worst(points, landmarker_points(stages, shown, "int8"), box) < 0.05


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_deepstream_module_on_the_tensors_of_the_engine(
    stages: SimpleNamespace, shown_whole: Shown, precision: str
) -> None:
    image, box = shown_whole
    edges = (box[0] + 0.5, box[1] + 0.5, box[2], box[3])  # DeepStream counts edges of pixels
    # In a frame that the square does not leave: at its border nvinfer shows black where the others
    # repeat the edge, so the tensors differ (test_deepstream.py has the geometry there).
    inside = np.pad(image, ((0, 0), (80, 0), (0, 0)), mode="edge")
    rect = face_rect((edges[0] + 80, *edges[1:]), 720, 480, SCALE)
    assert (rect.width, rect.height) == (80, 80)
    right, bottom = rect.left + 80, rect.top + 80
    crop = inside[rect.top : bottom, rect.left : right, 0].astype(np.float32)
    engine = stages.bundle / "cpu" / "1" / f"{precision}.onnx"
    said = run(engine, input_face_images=crop[None, None])
    points = points_in_frame(said["keypoints"][0], rect) - [80, 0]
    assert worst(points, landmarker_points(stages, shown_whole, precision), box) < 0.05


def test_the_command(stages: SimpleNamespace, shown: Shown, tmp_path: Path) -> None:
    image, box = shown
    Image.fromarray(image).save(tmp_path / "face.png")
    where = [str(tmp_path / "face.png"), "--model", str(stages.bundle / "cpu")]
    assert main(["infer", *where, "--out", str(tmp_path), "--box", *map(str, box)]) == 0
    (face,) = json.loads((tmp_path / "face.keypoints.json").read_text())["faces"]
    points = np.array(face["keypoints"])
    assert worst(points, landmarker_points(stages, shown, "int8"), box) < 0.05
