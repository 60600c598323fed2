"""Case 16: LabelMe and X-AnyLabeling, and VIA's JSON, CSV and projects."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fpenet.data.readers import find_format, read_labels
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, LabelledSet, UnreadFace
from fpenet.data.readers.tools.labelme import read_labelme
from fpenet.data.readers.tools.via import read_via
from fpenet.params import Params

Read = Callable[[Path], LabelledSet]
NAN = [np.nan, np.nan]


@pytest.fixture
def read(params_with: Callable[..., Params]) -> Read:
    return lambda labels: read_labels(labels, params_with().data)


def picture(folder: Path, name: str = "a.png") -> Path:
    folder.mkdir(exist_ok=True)
    Image.new("L", (64, 48), 90).save(folder / name)
    return folder


def shape(label: str, *points: tuple[float, float], **more: Any) -> dict[str, Any]:
    kind = "point" if len(points) == 1 else "rectangle"
    return {"label": label, "points": [list(p) for p in points], "shape_type": kind} | more


def labelme(folder: Path, *shapes: object, **about: object) -> Path:
    picture(folder)
    size = {"imageWidth": 64, "imageHeight": 48, "imageData": None}
    content = {"shapes": list(shapes), "imagePath": "a.png"} | size | about
    (folder / "a.json").write_text(json.dumps(content))
    return folder


def test_labelme_has_a_file_an_image(tmp_path: Path, read: Read) -> None:
    folder = labelme(
        tmp_path / "set",
        shape("1", (10.25, 20)),
        shape("3", (30, 40), flags={"occluded": True}),
        shape("face", (50, 44), (5, 6)),
        shape("hair", (0, 0), (1, 1), shape_type="polygon"),
    )
    assert find_format(LabelSource(folder)) == "labelme"
    (face,) = read_labelme(LabelSource(folder))
    assert isinstance(face, LabelledFace)
    assert np.array_equal(face.points, np.array([[10.25, 20], NAN, [30, 40]]), equal_nan=True)
    assert face.visible.tolist() == [True, False, False]
    assert face.face_box == pytest.approx((5, 6, 45, 38))
    assert (face.labelled_size, face.shown_upright) == ((64, 48), True)
    assert read(folder).num_keypoints == 3


@pytest.mark.parametrize("hidden", [{"difficult": True}, {"attributes": {"occluded": "true"}}])
def test_groups_of_x_anylabeling_are_faces(tmp_path: Path, hidden: dict[str, Any]) -> None:
    folder = labelme(
        tmp_path / "set",
        shape("eye", (10, 20), group_id=1),
        shape("nose", (12, 30), group_id=1, **hidden),
        shape("nose", (42, 30), group_id=2),
        shape("face", (1, 2), (31, 2), (31, 42), (1, 42), group_id=1, shape_type="rectangle"),
    )
    (folder / "labels.txt").write_text("__ignore__\n_background_\nface\nnose\neye\n")
    first, second = read_labelme(LabelSource(folder))
    assert isinstance(first, LabelledFace)
    assert isinstance(second, LabelledFace)
    assert first.points.tolist() == [[12, 30], [10, 20]]  # in labels.txt nose is before eye
    assert first.visible.tolist() == [False, True]
    assert first.face_box == pytest.approx((1, 2, 30, 40))
    assert second.points.tolist() == [[42, 30]]
    assert second.face_box is None


def test_an_embedded_image_must_be_saved(tmp_path: Path) -> None:
    folder = labelme(tmp_path / "set", shape("1", (1, 2)), imageData="iVBORw0KGgo=")
    (folder / "a.png").rename(tmp_path / "a.png")
    (unread,) = read_labelme(LabelSource(folder))
    assert isinstance(unread, UnreadFace)
    assert "it is embedded in imageData, which is not read: save the image" in unread.refusal.detail


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (shape("1", (1, 2), points=[[1]]), "shape 1, 1: points is [[1]]; it must be [[x, y]]"),
        (shape("1", (1, 2), points=[["q", 1]]), "x of shape 1, 1 is 'q'; it must be a number"),
        (shape("face", (1, 2), (1, 5)), "shape 1, face: the rectangle has no area"),
        (7, "shape 1 is 7; it must be an object"),
    ],
)
def test_a_broken_shape_is_named(tmp_path: Path, broken: object, message: str) -> None:
    (unread,) = read_labelme(LabelSource(labelme(tmp_path / "set", broken)))
    assert isinstance(unread, UnreadFace)
    assert (unread.where, unread.refusal.detail) == ("a.json", message)


def point(x: float, y: float, **about: str) -> dict[str, Any]:
    shape_attributes = {"name": "point", "cx": x, "cy": y}
    return {"shape_attributes": shape_attributes, "region_attributes": about}


def rect(x: float, y: float, width: float, height: float) -> dict[str, Any]:
    attributes = {"name": "rect", "x": x, "y": y, "width": width, "height": height}
    return {"shape_attributes": attributes, "region_attributes": {}}


def via(folder: Path, *regions: object, project: bool = False) -> Path:
    picture(folder)
    record = {"filename": "a.png", "size": 9, "regions": list(regions), "file_attributes": {}}
    content: dict[str, Any] = {"a.png9": record}
    if project:
        options = {"name": {"type": "dropdown", "options": {"nose": "", "eye": ""}}}
        content = {"_via_img_metadata": content, "_via_attributes": {"region": options}}
    (folder / "via_export.json").write_text(json.dumps(content))
    return folder


def test_points_of_via_have_a_name_or_an_order(tmp_path: Path, read: Read) -> None:
    named = [point(10, 20, name="eye"), point(12, 30, name="nose", occluded="1")]
    folder = via(tmp_path / "set", *named)
    assert find_format(LabelSource(folder)) == "via"
    assert read(folder).samples[0].points.tolist() == [[10, 20], [12, 30]]
    (sample,) = read(via(tmp_path / "set", *named, project=True)).samples
    assert sample.points.tolist() == [[12, 30], [10, 20]]
    assert sample.visible.tolist() == [False, True]
    boxes = rect(0, 0, 30, 40), rect(32, 0, 30, 40)
    unnamed = point(10, 20), point(12, 30), point(40, 20), point(42, 30)
    first, second = read_via(LabelSource(via(tmp_path / "set", *boxes, *unnamed)))
    assert isinstance(first, LabelledFace)
    assert isinstance(second, LabelledFace)
    assert first.points.tolist() == [[10, 20], [12, 30]]
    assert second.points.tolist() == [[40, 20], [42, 30]]
    assert second.face_box == (32, 0, 30, 40)


def test_the_csv_of_via_is_read_once(tmp_path: Path, read: Read) -> None:
    folder = via(tmp_path / "set", point(10, 20), point(12, 30))
    head = "filename,file_size,file_attributes,region_count,region_id"
    with (folder / "via_export.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*head.split(","), "region_shape_attributes", "region_attributes"])
        for number, region in enumerate((point(10, 20), point(12, 30))):
            parts = (json.dumps(region[f"{part}_attributes"]) for part in ("shape", "region"))
            writer.writerow(["a.png", 9, "{}", 2, number, *parts])
    both = read(folder)
    assert both.origins.label_files == ("via_export.json",)
    (folder / "via_export.json").unlink()
    alone = read(folder)
    assert alone.origins.label_files == ("via_export.csv",)
    for labelled in (both, alone):
        assert [s.points.tolist() for s in labelled.samples] == [[[10, 20], [12, 30]]]


def test_via_says_which_attribute_names_a_point(tmp_path: Path) -> None:
    folder = via(tmp_path / "set", point(1, 2, colour="red", shade="dark"))
    (unread,) = read_via(LabelSource(folder))
    assert isinstance(unread, UnreadFace)
    assert "points have the attributes colour, shade; the keypoint must be" in unread.refusal.detail
