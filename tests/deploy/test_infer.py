"""``fpenet infer``: what it writes, in which pixels, and what it refuses."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import fpenet
from components.cli import main
from components.data.synthetic import FaceSpec, render_face
from components.deploy.infer import draw_keypoints, infer_images
from components.deploy.landmarker import FaceKeypoints


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "in" / name for name in ("a.png", "b.jpg")]
    paths[0].parent.mkdir()
    for path, yaw in zip(paths, (0.0, 20.0), strict=True):
        Image.fromarray(render_face(FaceSpec(yaw_deg=yaw)).image).save(path)
    return paths


def test_a_box_gives_the_keypoints_of_the_landmarker_in_image_pixels(
    stages: SimpleNamespace, pictures: list[Path], tmp_path: Path
) -> None:
    box = (230.0, 186.0, 180.0, 178.0)
    infer_images(pictures, stages.bundle / "cpu", tmp_path / "out", box, "dlib")
    for path in pictures:
        result = json.loads((tmp_path / "out" / f"{path.stem}.keypoints.json").read_text())
        (face,) = fpenet.Landmarker(stages.bundle / "cpu").keypoints(path, box)
        assert result["image"] == path.name
        assert (result["width"], result["height"]) == (640, 480)
        assert result["faces"][0]["box"] == list(box)
        assert np.allclose(result["faces"][0]["keypoints"], face.keypoints, atol=1e-3)
        assert np.allclose(result["faces"][0]["confidence"], face.confidence, atol=1e-5)
        with Image.open(tmp_path / "out" / f"{path.stem}.keypoints.png") as drawn:
            assert drawn.size == (640, 480)


def test_a_point_is_drawn_where_it_is() -> None:
    face = FaceKeypoints((4.0, 4.0, 8.0, 8.0), np.array([[10.0, 3.0]]), np.ones(1, np.float32))
    drawn = np.asarray(draw_keypoints(Image.new("L", (40, 20)), [face])).astype(int)
    yellow = (drawn == [0xFF, 0xD8, 0x3A]).all(axis=2)
    rows, columns = np.nonzero(yellow)
    factor = 16  # 40 pixels become 640
    assert drawn.shape == (320, 640, 3)
    assert columns.mean() == pytest.approx((10 + 0.5) * factor - 0.5, abs=0.6)
    assert rows.mean() == pytest.approx((3 + 0.5) * factor - 0.5, abs=0.6)


def test_the_command_writes_both_files_for_the_whole_image(
    stages: SimpleNamespace, pictures: list[Path], tmp_path: Path
) -> None:
    model = stages.bundle / "cpu" / "1" / "fp32.onnx"
    out = tmp_path / "out"
    arguments = [str(pictures[0]), "--model", str(model), "--out", str(out)]
    arguments += ["--detector", "whole", "--trusted", "anyone"]
    assert main(["infer", *arguments]) == 0
    assert {path.name for path in out.iterdir()} == {"a.keypoints.json", "a.keypoints.png"}
    result = json.loads((out / "a.keypoints.json").read_text())
    assert len(result["faces"][0]["keypoints"]) == 68


def test_a_picture_without_a_face_says_so_and_is_written(
    stages: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("dlib", reason="needs the detect extra")
    path = tmp_path / "wall.png"
    Image.new("L", (200, 200), 90).save(path)
    infer_images([path], stages.bundle / "cpu", tmp_path / "out", None, "dlib")
    assert json.loads((tmp_path / "out" / "wall.keypoints.json").read_text())["faces"] == []
    assert "wall.png: no face found" in caplog.text


def test_an_unreadable_image_is_named_before_anything_is_written(
    stages: SimpleNamespace,
    pictures: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = tmp_path / "in" / "broken.png"
    broken.write_bytes(pictures[0].read_bytes()[:2000])
    arguments = [str(pictures[0]), str(broken), "--model", str(stages.bundle / "cpu")]
    status = main(["infer", *arguments, "--out", str(tmp_path / "out"), "--detector", "whole"])
    assert status == 2
    assert f"{broken}: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_images_of_one_name_are_refused(
    stages: SimpleNamespace, pictures: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="a: two images with that name"):
        infer_images(
            [pictures[0], tmp_path / "a.jpg"], stages.bundle / "cpu", tmp_path, None, "whole"
        )


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((1.0, 2.0, 0.0, 5.0), "must be positive and finite"),
        ((1.0, 2.0, float("nan"), 5.0), "must be positive and finite"),
        ((640.0, 2.0, 9.0, 9.0), "lies outside the 640x480 image"),
        ((1.0, 2.0, 3.0), "box has 3 numbers; give x y width height"),
    ],
)
def test_a_box_that_is_no_part_of_the_image_is_refused(
    stages: SimpleNamespace,
    pictures: list[Path],
    tmp_path: Path,
    box: tuple[float, ...],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        infer_images(pictures[:1], stages.bundle / "cpu", tmp_path / "out", box, "dlib")
    assert not list(tmp_path.rglob("*.keypoints.*"))
