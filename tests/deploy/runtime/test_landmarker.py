"""Landmarker: a bundle or an ONNX file as a function from pictures to keypoints in their pixels."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import fpenet
from fpenet.data.crops.geometry import cut, face_crop_box
from fpenet.deploy.onnx.network import read_network, set_metadata
from fpenet.deploy.runtime.face_detection import tight_box
from fpenet.deploy.runtime.landmarker import overlap
from fpenet.params import Params
from synthface import FaceSpec, RenderedFace, render_face


@pytest.fixture(scope="module")
def face() -> RenderedFace:
    return render_face(FaceSpec(seed=99))


def test_points_are_those_of_the_network_on_the_crop_of_training(
    stages: SimpleNamespace, face: RenderedFace
) -> None:
    landmarker = fpenet.Landmarker(stages.bundle / "cpu", precision="fp32")
    (found,) = landmarker.keypoints(face.image, face.face_box)
    crop = face_crop_box(face.face_box, 1.2)
    points, confidence = landmarker.predict(cut(face.image, crop, 80)[None, None])
    # u = (x - centre) * 80 / side + 39.5, so x = (u - 39.5) * side / 80 + centre.
    center = np.array([crop.center_x, crop.center_y])
    expected = (points[0].astype(float) - 39.5) * crop.side / 80 + center
    assert np.allclose(found.keypoints, expected, atol=1e-6)
    assert np.array_equal(found.confidence, confidence[0])
    assert found.keypoints.shape == (68, 2)
    assert found.box == face.face_box


def test_points_follow_the_face_when_the_picture_is_shifted(
    stages: SimpleNamespace, face: RenderedFace
) -> None:
    landmarker = fpenet.Landmarker(stages.bundle / "cpu")
    x, y, width, height = face.face_box
    (still,) = landmarker.keypoints(face.image, face.face_box)
    moved = np.roll(face.image, (17, -40), axis=(0, 1))
    (shifted,) = landmarker.keypoints(moved, (x - 40, y + 17, width, height))
    assert np.allclose(shifted.keypoints - still.keypoints, [-40, 17], atol=0.05)


def test_a_bundle_and_its_onnx_file_agree(stages: SimpleNamespace, face: RenderedFace) -> None:
    bundle = fpenet.Landmarker(stages.bundle / "cpu")
    file = fpenet.Landmarker(stages.bundle / "cpu" / "1" / "int8.onnx", trusted="anyone")
    assert (file.num_keypoints, file.box_scale) == (68, 1.2)
    (a,), (b,) = (m.keypoints(face.image, face.face_box) for m in (bundle, file))
    assert np.array_equal(a.keypoints, b.keypoints)


def test_a_whole_image_is_the_crop_itself(stages: SimpleNamespace, face: RenderedFace) -> None:
    landmarker = fpenet.Landmarker(stages.bundle / "cpu")
    crop = cut(face.image, face_crop_box(face.face_box, 1.2), 80)
    (found,) = landmarker.keypoints(crop, "whole")
    points, _ = landmarker.predict(crop[None, None])
    assert np.allclose(found.keypoints, points[0], atol=1e-4)


def test_colour_becomes_grey_as_in_training(
    stages: SimpleNamespace, face: RenderedFace, tmp_path: Path
) -> None:
    landmarker = fpenet.Landmarker(stages.bundle / "cpu")
    colour = np.stack([face.image, np.full_like(face.image, 30), face.image // 2], axis=2)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    (a,) = landmarker.keypoints(colour, face.face_box)
    (b,) = landmarker.keypoints(tmp_path / "colour.png", face.face_box)
    assert np.abs(a.keypoints - b.keypoints).max() < 1e-3
    (swapped,) = landmarker.keypoints(colour[:, :, ::-1], face.face_box)
    assert np.abs(a.keypoints - swapped.keypoints).max() > 0.5


def test_a_detected_face_lies_on_the_face(stages: SimpleNamespace, face: RenderedFace) -> None:
    pytest.importorskip("dlib", reason="needs the detect extra")
    landmarker = fpenet.Landmarker(stages.bundle / "cpu")
    (found,) = landmarker.keypoints(face.image)
    x, y, width, height = face.face_box
    a, b, side, _ = found.box
    assert abs((a + side / 2) - (x + width / 2)) < 0.1 * width
    assert abs((b + side / 2) - (y + height / 2)) < 0.1 * height
    assert side == pytest.approx(max(width, height), rel=0.15)
    assert landmarker.keypoints(np.full((100, 100), 128, np.uint8)) == []


def test_a_detection_maps_to_the_tight_box_by_hand() -> None:
    assert tight_box(10.0, 20.0, 100.0) == pytest.approx((10.0, 28.5, 100.0, 100.0))


def test_without_dlib_the_error_says_what_to_do(
    stages: SimpleNamespace, face: RenderedFace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(ValueError, match=r"needs dlib: pip install 'fpenet\[detect\]'"):
        fpenet.Landmarker(stages.bundle / "cpu").keypoints(face.image)


def test_an_engine_that_nobody_listed_is_not_opened(
    stages: SimpleNamespace, tmp_path: Path
) -> None:
    folder = tmp_path / "cpu"
    shutil.copytree(stages.bundle / "cpu", folder)
    lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(line for line in lines if "int8" not in line))
    with pytest.raises(ValueError, match=r"int8\.onnx: not among the files"):
        fpenet.Landmarker(folder, trusted="anyone")


def test_sums_that_point_outside_are_refused(stages: SimpleNamespace, tmp_path: Path) -> None:
    folder = tmp_path / "cpu"
    shutil.copytree(stages.bundle / "cpu", folder)
    with (folder / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  ../../secret\n")
    with pytest.raises(ValueError, match=r"SHA256SUMS, line \d+: not a digest and a file of this"):
        fpenet.Landmarker(folder, trusted="anyone")


@pytest.mark.parametrize(
    ("target", "precision", "message"),
    [
        ("nano", None, "its fp16 engine is not built yet; run its build.sh"),
        ("cpu", "fp16", r"no fp16 engine; it has \['fp32', 'int8'\]"),
        ("", None, r"has several targets; name one: cpu, h200, l4, nano, orin-agx, xavier-nx"),
    ],
)
def test_an_engine_that_cannot_run_here_says_why(
    stages: SimpleNamespace, target: str, precision: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fpenet.Landmarker(stages.bundle / target, precision)


def test_an_onnx_file_that_is_not_ours_is_refused(stages: SimpleNamespace, tmp_path: Path) -> None:
    model = read_network(stages.export / "opset17" / "fp32.onnx")
    del model.metadata_props[:]
    set_metadata(model, {"num_keypoints": "68"})
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(
        ValueError, match=r"other\.onnx: its metadata has no box_scale; it is not a model of fpenet"
    ):
        fpenet.Landmarker(tmp_path / "other.onnx", trusted="anyone")


@pytest.mark.parametrize(
    "image",
    [np.zeros((5, 5), np.float32), np.zeros((5, 5, 4), np.uint8), np.zeros((0, 5), np.uint8)],
)
def test_an_array_that_is_no_picture_is_refused(stages: SimpleNamespace, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must be uint8 \(H, W\) or \(H, W, 3\)"):
        fpenet.Landmarker(stages.bundle / "cpu").keypoints(image, "whole")


def test_crops_of_another_shape_are_refused(stages: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match=r"must be uint8 \(N, 1, 80, 80\)"):
        fpenet.Landmarker(stages.bundle / "cpu").predict(np.zeros((1, 80, 80), np.uint8))


def test_the_public_evaluate_gives_the_numbers_of_the_build_stage(
    stages: SimpleNamespace, params: Params
) -> None:
    rows = json.loads((stages.build / "engines.json").read_text())["engines"]
    (row,) = (r for r in rows if (r["target"], r["precision"]) == ("cpu", "int8"))
    landmarker = fpenet.Landmarker(stages.bundle / "cpu")
    report = fpenet.evaluate(landmarker.predict, stages.crop, params.evaluate)
    assert dict(report.metrics) == pytest.approx(row["metrics"])


def test_overlap_of_two_boxes_by_hand() -> None:
    box = (10.0, 20.0, 4.0, 4.0)
    assert overlap(box, box) == 1.0
    assert overlap(box, (12.0, 20.0, 4.0, 4.0)) == pytest.approx(8 / 24)
    assert overlap(box, (14.0, 20.0, 4.0, 4.0)) == 0.0
    assert overlap((11.0, 21.0, 0.0, 0.0), box) == 0.0  # points that coincide


def test_a_bundle_tells_which_points_it_takes_for_visible(stages: SimpleNamespace) -> None:
    image = np.full((120, 120), 90, np.uint8)
    (face,) = fpenet.Landmarker(stages.bundle / "cpu", "fp32").keypoints(image, "whole")
    assert face.visible is not None
    assert face.visible.tolist() == (face.confidence >= 0.5).tolist()
