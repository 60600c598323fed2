"""``fpenet infer``: what it writes, in which pixels, and what it refuses."""

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

import fpenet
from fpenet.cli.main import main
from fpenet.core.errors import InputError
from fpenet.deploy.runtime import infer
from fpenet.deploy.runtime.face_detection import FaceBox
from fpenet.deploy.runtime.infer import InferOptions, infer_files
from fpenet.deploy.runtime.infer_outputs import overlay_keypoints
from fpenet.deploy.runtime.landmarker import FaceKeypoints
from fpenet.deploy.runtime.one_euro import Smoothing
from fpenet.deploy.runtime.video import Frame, VideoFile, read_frames
from synthface import FaceSpec, render_face


def landmarker_of(stages: SimpleNamespace) -> fpenet.Landmarker:
    return fpenet.Landmarker(stages.bundle / "cpu")


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
    infer_files(pictures, landmarker_of(stages), tmp_path / "out", InferOptions(box))
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


def test_a_photo_is_turned_as_a_telephone_asks(
    stages: SimpleNamespace, pictures: list[Path], tmp_path: Path
) -> None:
    turned = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # a quarter clockwise makes it upright
    with Image.open(pictures[0]) as upright:
        upright.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
    infer_files(
        [pictures[0], turned], landmarker_of(stages), tmp_path, InferOptions((230, 186, 180, 178))
    )
    one, other = (
        json.loads((tmp_path / f"{stem}.keypoints.json").read_text()) for stem in ("a", "turned")
    )
    assert one | {"image": "turned.png"} == other
    drawn = [Image.open(tmp_path / f"{stem}.keypoints.png") for stem in ("a", "turned")]
    assert drawn[0].tobytes() == drawn[1].tobytes()


def test_a_point_is_drawn_where_it_is() -> None:
    face = FaceKeypoints((4.0, 4.0, 8.0, 8.0), np.array([[10.0, 3.0]]), np.ones(1, np.float32))
    drawn = np.asarray(overlay_keypoints(Image.new("L", (40, 20)), [face])).astype(int)
    yellow = (drawn == [0xFF, 0xD8, 0x3A]).all(axis=2)
    rows, columns = np.nonzero(yellow)
    factor = 16  # 40 pixels become 640
    assert drawn.shape == (320, 640, 3)
    assert columns.mean() == pytest.approx((10 + 0.5) * factor - 0.5, abs=0.6)
    assert rows.mean() == pytest.approx((3 + 0.5) * factor - 0.5, abs=0.6)


def test_the_command_writes_both_files_for_the_whole_image(
    stages: SimpleNamespace,
    pictures: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = stages.bundle / "cpu" / "1" / "fp32.onnx"
    out = tmp_path / "out"
    arguments = [str(pictures[0]), "--model", str(model), "--out", str(out)]
    arguments += ["--detector", "whole", "--trusted", "anyone"]
    assert main(["infer", *arguments]) == 0
    assert {path.name for path in out.iterdir()} == {"a.keypoints.json", "a.keypoints.png"}
    assert capsys.readouterr().out == f"{out}: overlay, json; inputs: 1\n"
    result = json.loads((out / "a.keypoints.json").read_text())
    assert len(result["faces"][0]["keypoints"]) == 68


def test_a_picture_without_a_face_says_so_and_is_written(
    stages: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("dlib", reason="needs the detect extra")
    path = tmp_path / "wall.png"
    Image.new("L", (200, 200), 90).save(path)
    infer_files([path], landmarker_of(stages), tmp_path / "out", InferOptions())
    assert json.loads((tmp_path / "out" / "wall.keypoints.json").read_text())["faces"] == []
    assert "wall.png: no face detected" in caplog.text


def test_an_unreadable_image_alone_is_named_and_nothing_is_written(
    stages: SimpleNamespace,
    pictures: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = tmp_path / "in" / "broken.png"
    broken.write_bytes(pictures[0].read_bytes()[:2000])
    arguments = [str(broken), "--model", str(stages.bundle / "cpu")]
    status = main(["infer", *arguments, "--out", str(tmp_path / "out"), "--detector", "whole"])
    assert status == 2
    assert f"{broken}: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_recursive_reads_the_folders_of_a_folder_and_writes_into_folders_of_their_names(
    stages: SimpleNamespace, pictures: list[Path], tmp_path: Path
) -> None:
    deep = tmp_path / "in" / "anna" / "day1"
    deep.mkdir(parents=True)
    shutil.copy(pictures[0], deep)
    shutil.copy(pictures[0], tmp_path / "in" / "anna" / ".a.png")  # hidden
    shutil.copy(pictures[0], tmp_path / "in" / "x.keypoints.png")  # an output of before
    how = InferOptions((230.0, 186.0, 180.0, 178.0), ("json",), recursive=True)
    done = infer_files([tmp_path / "in"], landmarker_of(stages), tmp_path / "out", how)
    assert (done.inputs, done.refused) == (3, [])
    written = sorted(p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*.json"))
    assert [path.as_posix() for path in written] == [
        "a.keypoints.json",
        "anna/day1/a.keypoints.json",
        "b.keypoints.json",
    ]
    with pytest.raises(ValueError, match="--recursive: with --fps, name each folder of frames"):
        infer_files(
            [tmp_path / "in"], landmarker_of(stages), tmp_path, replace(how, frames_per_second=5.0)
        )


def test_frames_are_in_the_order_of_their_numbers_and_a_broken_one_is_passed_over(
    stages: SimpleNamespace, frames: list[np.ndarray], tmp_path: Path
) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for number, image in zip((2, 9, 10, 100), frames, strict=False):
        Image.fromarray(image).save(folder / f"frame{number}.png")
    (folder / "frame9.png").write_bytes(b"")
    how = InferOptions("whole", ("json",), frames_per_second=25.0, smoothing=None)
    done = infer_files([folder], landmarker_of(stages), tmp_path / "out", how)
    assert done.inputs == 1
    assert list(done.refused) == [
        f"{folder / 'frame9.png'}: an empty file; images are PNG, JPEG, WebP, BMP, TIFF, PGM, PPM"
        " and HEIC"
    ]
    lines = lines_of(tmp_path / "out" / "clip.keypoints.jsonl")
    assert [(line["frame"], line["seconds"]) for line in lines] == [(0, 0), (2, 0.08), (3, 0.12)]
    found = [line["faces"][0]["keypoints"] for line in lines]
    landmarker = landmarker_of(stages)
    points = [landmarker.keypoints(frames[n], "whole")[0].keypoints for n in (0, 2, 3)]
    assert np.allclose(found, points, atol=1e-3)


def test_of_a_damaged_video_the_frames_before_the_damage_are_kept(
    stages: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(path: Path) -> Iterator[Frame]:
        for number in range(2):
            yield Frame(number / 25, render_face(FaceSpec()).image[..., None].repeat(3, axis=2))
        raise InputError(f"{path}: Invalid data found")

    path = tmp_path / "clip.mp4"
    path.write_bytes(b"\0\0\0\x18ftypisom")
    monkeypatch.setattr(infer, "read_frames", damaged)
    monkeypatch.setattr(infer, "count_frames", lambda path: 0)
    how = InferOptions("whole", ("json",))
    reason = rf"^{path}: Invalid data found; the outputs end after frame 1$"
    with pytest.raises(InputError, match=reason):
        infer_files([path], landmarker_of(stages), tmp_path / "out", how)
    assert len(lines_of(tmp_path / "out" / "clip.keypoints.jsonl")) == 2


def test_two_images_of_one_name_are_refused(
    stages: SimpleNamespace, pictures: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="a: two inputs with this name"):
        infer_files(
            [pictures[0], tmp_path / "a.jpg"],
            landmarker_of(stages),
            tmp_path,
            InferOptions("whole"),
        )


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((1.0, 2.0, 0.0, 5.0), "must be positive and finite"),
        ((1.0, 2.0, float("nan"), 5.0), "must be positive and finite"),
        ((640.0, 2.0, 9.0, 9.0), "it is outside the 640x480 image"),
    ],
)
def test_a_box_that_is_no_part_of_the_image_is_refused(
    stages: SimpleNamespace,
    pictures: list[Path],
    tmp_path: Path,
    box: FaceBox,
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        infer_files(pictures[:1], landmarker_of(stages), tmp_path / "out", InferOptions(box))
    assert not list(tmp_path.rglob("*.keypoints.*"))


def test_a_folder_is_all_its_images_and_csv_has_a_row_a_point(
    stages: SimpleNamespace, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "in" / "notes.txt").write_text("no image")
    how = InferOptions((230.0, 186.0, 180.0, 178.0), write=("csv",))
    infer_files([tmp_path / "in"], landmarker_of(stages), tmp_path / "out", how)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "a.keypoints.csv",
        "b.keypoints.csv",
    }
    with (tmp_path / "out" / "a.keypoints.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    (face,) = landmarker_of(stages).keypoints(pictures[0], how.face_box)
    assert len(rows) == 68
    assert (rows[67]["frame"], rows[67]["face"], rows[67]["point"]) == ("0", "1", "68")
    found = [[float(row["x"]), float(row["y"])] for row in rows]
    assert np.allclose(found, face.keypoints, atol=1e-3)
    assert face.visible is not None
    assert [row["visible"] for row in rows] == [str(int(seen)) for seen in face.visible]


def test_an_empty_folder_is_refused(stages: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"none: no image and no video in it \(--recursive also"):
        infer_files([tmp_path / "none"], landmarker_of(stages), tmp_path / "out", InferOptions())


@pytest.fixture
def frames() -> list[np.ndarray]:
    """A face that moves three pixels a frame."""
    still = render_face(FaceSpec(seed=5)).image
    return [np.roll(still, 3 * number, axis=1) for number in range(5)]


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_video_and_the_folder_of_its_frames_give_a_line_a_frame(
    stages: SimpleNamespace, frames: list[np.ndarray], tmp_path: Path
) -> None:
    pytest.importorskip("av", reason="needs the video extra")
    (tmp_path / "folder").mkdir()
    with VideoFile(tmp_path / "clip.mp4") as file:
        for number, image in enumerate(frames):
            picture = Image.fromarray(image).convert("RGB")
            picture.save(tmp_path / "folder" / f"{number:03d}.png")
            file.add(picture, number / 25)
    how = InferOptions("whole", ("overlay", "json", "csv"), frames_per_second=25.0)
    inputs = [tmp_path / "clip.mp4", tmp_path / "folder"]
    infer_files(inputs, landmarker_of(stages), tmp_path / "out", how)
    clip, folder = (
        lines_of(tmp_path / "out" / f"{name}.keypoints.jsonl") for name in ("clip", "folder")
    )
    for number, (one, other) in enumerate(zip(clip, folder, strict=True)):
        assert (one["frame"], one["seconds"]) == (number, number / 25)
        assert (other["frame"], other["seconds"]) == (number, number / 25)
        assert [face["number"] for face in one["faces"]] == [1]
        assert len(one["faces"][0]["keypoints"]) == 68
    drawn = list(read_frames(tmp_path / "out" / "clip.keypoints.mp4"))
    assert [frame.seconds for frame in drawn] == pytest.approx([n / 25 for n in range(5)])
    assert drawn[0].image.shape == (480, 640, 3)
    with (tmp_path / "out" / "folder.keypoints.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 5 * 68


def test_the_points_of_a_video_are_smoothed_unless_asked_otherwise(
    stages: SimpleNamespace, frames: list[np.ndarray], tmp_path: Path
) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for number, image in enumerate(frames):
        Image.fromarray(image).save(folder / f"{number}.png")
    found = {}
    for name, smoothing in (("raw", None), ("smooth", Smoothing(0.1, 0.1))):
        how = InferOptions("whole", ("json",), frames_per_second=25.0, smoothing=smoothing)
        infer_files([folder], landmarker_of(stages), tmp_path / name, how)
        lines = lines_of(tmp_path / name / "clip.keypoints.jsonl")
        found[name] = np.array([line["faces"][0]["keypoints"] for line in lines])
    points = [landmarker_of(stages).keypoints(image, "whole")[0].keypoints for image in frames]
    assert np.allclose(found["raw"], points, atol=1e-3)
    assert np.allclose(found["smooth"][0], points[0], atol=1e-3)
    moved, allowed = (np.abs(np.diff(found[name], axis=0)).mean() for name in ("raw", "smooth"))
    assert allowed < 0.3 * moved


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--smooth", "-1", "2"], "--smooth -1 2: both must be positive, or both 0"),
        (["--smooth", "0", "2"], "--smooth 0 2: both must be positive, or both 0"),
        (["--fps", "0"], "--detect-every and --fps must be positive"),
        (["--detect-every", "0"], "--detect-every and --fps must be positive"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    stages: SimpleNamespace,
    pictures: list[Path],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    where = [str(pictures[0]), "--model", str(stages.bundle / "cpu")]
    assert main(["infer", *where, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_check_says_what_each_engine_is_worth(
    stages: SimpleNamespace, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["check", str(stages.bundle)]) == 0
    said = capsys.readouterr().out
    assert "cpu/int8: passed, " in said
    assert "nano/fp16: not run here: it is not built yet; run build.sh" in said
    assert "l4/fp16: not run here: " in said
    folder = tmp_path / "cpu"
    shutil.copytree(stages.bundle / "cpu", folder)
    (folder / "1" / "fp32.onnx").write_bytes(b"another")
    assert main(["check", str(folder)]) == 2
    assert "fp32.onnx: its SHA-256 is not the one in SHA256SUMS" in capsys.readouterr().err
    assert main(["check", str(tmp_path)]) == 2
