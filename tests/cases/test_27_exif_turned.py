"""A telephone's photos: labels made on the turned picture, on the stored pixels, or on neither."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from fpenet.data.convert import convert_labels
from fpenet.data.crops.geometry import CropBox, cut
from fpenet.data.describe import describe_set
from fpenet.data.images import read_grey
from fpenet.data.overlay import face_image
from fpenet.data.readers import LabelledSet, read_labels
from fpenet.data.validation.run_checks import run_checks
from fpenet.params import Params

Read = Callable[[Path], LabelledSet]
LEVELS = np.random.default_rng(27).integers(0, 256, (40, 60)).astype(np.uint8)  # 60x40, upright
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
"""EXIF orientation -> how the upright picture is stored under it."""


def photo(path: Path, orientation: int, levels: Any = LEVELS) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(levels).transpose(TURNS[orientation]).save(path, exif=exif)


def label_studio(folder: Path, size: tuple[int, int]) -> Path:
    """Two points, at 10 % and 20 %, and at 50 % and 60 % of an image of ``size``."""
    both = {"original_width": size[0], "original_height": size[1], "type": "keypointlabels"}
    results = [
        both | {"id": str(n), "value": {"x": x, "y": y, "width": 1, "keypointlabels": [str(n)]}}
        for n, x, y in ((1, 10, 20), (2, 50, 60))
    ]
    data = {"image": "/data/upload/a.png", "filename": "a.png"}
    task = {"data": data, "annotations": [{"result": results}]}
    (folder / "export.json").write_text(json.dumps([task]))
    return folder


def coco(folder: Path, *sizes: tuple[int, int] | None) -> Path:
    """One face of two points, and one image row, for each of ``sizes``."""
    images: list[dict[str, Any]] = [
        {"id": n, "file_name": "a.png"} | ({"width": s[0], "height": s[1]} if s else {})
        for n, s in enumerate(sizes)
    ]
    faces = [{"image_id": n, "keypoints": [5, 7, 2, 29, 23, 2]} for n in range(len(sizes))]
    (folder / "labels.json").write_text(json.dumps({"images": images, "annotations": faces}))
    return folder


@pytest.fixture
def read(params_with: Callable[..., Params]) -> Read:
    return lambda folder: read_labels(folder, params_with().data)


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_label_studio_measures_the_turned_picture(
    tmp_path: Path, read: Read, orientation: int
) -> None:
    photo(tmp_path / "a.png", orientation)
    (sample,) = read(label_studio(tmp_path, (60, 40))).samples
    assert (sample.image_size, sample.turn) == ((60, 40), True)
    assert sample.points.tolist() == [[5.5, 7.5], [29.5, 23.5]]  # 10 % of 60 px, less half a pixel
    assert read_grey(tmp_path / "a.png", turn=sample.turn).tolist() == LEVELS.tolist()
    box = CropBox(29.5, 23.5, 8.0)
    drawn = face_image(tmp_path / "a.png", box, 8, sample.turn)
    assert np.asarray(drawn.convert("L")).tolist() == cut(LEVELS, box, 8).tolist()


def test_a_size_of_the_stored_pixels_leaves_them_as_they_are(tmp_path: Path, read: Read) -> None:
    photo(tmp_path / "a.png", 6)
    (sample,) = read(coco(tmp_path, (40, 60))).samples
    assert (sample.image_size, sample.turn) == ((40, 60), False)
    stored = Image.fromarray(LEVELS).transpose(TURNS[6])
    pixels = read_grey(tmp_path / "a.png", turn=sample.turn)
    assert pixels.tolist() == np.asarray(stored).tolist()


def test_coco_of_the_turned_size_is_turned(tmp_path: Path, read: Read) -> None:
    photo(tmp_path / "a.png", 8)
    (sample,) = read(coco(tmp_path, (60, 40))).samples
    assert (sample.image_size, sample.turn) == ((60, 40), True)


@pytest.mark.parametrize(
    ("orientation", "size", "reason"),
    [
        (6, None, "EXIF orientation 6; rotate both the pixels and the labels"),
        (3, (60, 40), "EXIF orientation 3; rotate both the pixels and the labels"),
        (
            6,
            (120, 80),
            "EXIF orientation 6 turns 40x60 pixels to 60x40, but the labels were made on 120x80",
        ),
    ],
)
def test_labels_that_do_not_settle_it_are_refused(
    tmp_path: Path, read: Read, orientation: int, size: tuple[int, int] | None, reason: str
) -> None:
    photo(tmp_path / "a.png", orientation)
    labelled = read(coco(tmp_path, size))
    assert labelled.samples == []
    assert labelled.rejected[0].reason == "image rotated"
    assert reason in labelled.rejected[0].detail


def test_two_faces_of_one_image_that_disagree_are_not_both_used(tmp_path: Path, read: Read) -> None:
    photo(tmp_path / "a.png", 6)
    labelled = read(coco(tmp_path, (60, 40), (40, 60)))
    assert [sample.turn for sample in labelled.samples] == [True]
    assert "its faces were labelled on differently turned images" in labelled.rejected[0].detail


def test_describe_counts_as_usable_what_validate_keeps(
    tmp_path: Path, read: Read, params_with: Callable[..., Params]
) -> None:
    images, faces = [], []
    rng = np.random.default_rng(3)
    for n in range(8):
        levels = rng.integers(0, 256, (40, 60)).astype(np.uint8)
        photo(tmp_path / f"{n}.png", 6, levels)
        size = {"width": 60, "height": 40} if n < 6 else {}  # the last two do not settle it
        images.append({"id": n, "file_name": f"{n}.png"} | size)
        points = [14 + n / 8, 10, 2, 40, 12, 2, 25, 30, 2, 30, 20, 2]
        faces.append({"image_id": n, "keypoints": points})
    path = tmp_path / "5.png"
    path.write_bytes(path.read_bytes()[:-400])  # its header is whole
    (tmp_path / "labels.json").write_text(json.dumps({"images": images, "annotations": faces}))
    params, labelled = params_with(), read(tmp_path)
    described = describe_set(labelled, params.validate_)
    checked = run_checks(labelled.samples, labelled.root, params.validate_)
    assert described["usable"] == len(checked.kept) == 5
    assert described["drops"] == {"image rotated": 2, "image unreadable": 1}


def test_convert_saves_the_picture_as_the_labels_see_it(
    tmp_path: Path, read: Read, params_with: Callable[..., Params]
) -> None:
    (tmp_path / "in").mkdir()
    photo(tmp_path / "in" / "a.png", 6)
    label_studio(tmp_path / "in", (60, 40))
    convert_labels(tmp_path / "in", params_with().data, "table", tmp_path / "out")
    (sample,) = read(tmp_path / "out").samples
    assert (sample.image_size, sample.turn) == ((60, 40), None)
    assert read_grey(tmp_path / "out" / "a.png").tolist() == LEVELS.tolist()
