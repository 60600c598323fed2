"""``fpenet convert``: every format holds what it says, and a broken conversion leaves nothing."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fpenet.data.convert import WRITERS, convert_labels
from fpenet.data.readers import find_format, read_labels
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.sample import FaceSample
from fpenet.params import Params
from tests.conftest import TinyLabels

PLACES = st.floats(-50, 150).map(lambda value: round(value, 3) + 0.0005)
"""Never a placeholder such as (0, 0) or (-1, -1), which is no keypoint."""


@st.composite
def face(draw: st.DrawFn, number: int) -> FaceSample:
    count = 4
    points = np.array(draw(st.lists(st.tuples(PLACES, PLACES), min_size=count, max_size=count)))
    labelled = np.array(draw(st.lists(st.booleans(), min_size=count - 1, max_size=count - 1)))
    points[:-1][~labelled] = np.nan  # the last is always there: it tells K
    shown = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    return FaceSample(
        f"images/{number}.png",
        (100, 80),
        (draw(PLACES), draw(PLACES), draw(st.floats(1, 90)), draw(st.floats(1, 90))),
        points,
        shown & ~np.isnan(points[:, 0]),
        draw(st.none() | st.integers(0, 9)),
        draw(st.none() | st.sampled_from(["007", "ann"])),
        draw(st.sampled_from([{}, {"camera": "05_1", "yaw": -15.0}])),
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "images").mkdir()
    for number in range(3):
        Image.new("L", (100, 80), 40 * number).save(folder / f"images/{number}.png")
    return folder


@pytest.mark.parametrize("to", [name for name, writer in WRITERS.items() if writer.has_flags])
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(faces=st.tuples(face(0), face(1), face(2)))
def test_what_is_written_is_read_again(
    to: str,
    faces: tuple[FaceSample, ...],
    pictures: Path,
    tmp_path_factory: pytest.TempPathFactory,
    params_with: Callable[..., Params],
) -> None:
    first = tmp_path_factory.mktemp("first")
    shutil.copytree(pictures / "images", first / "images", copy_function=os.link)
    assert not WRITERS["coco"].write(faces, first)  # coco holds everything
    second = tmp_path_factory.mktemp("second") / to
    data = params_with({"data.subject_pattern": "(?P<subject>never)"}).data
    said = convert_labels(first, data, to, second)
    assert (said["faces"], said["written"], said["rejected"]) == (3, 3, {})
    labelled = read_labels(second, data)
    assert (labelled.num_keypoints, find_format(LabelSource(second))) == (4, to)
    for face, found in zip(faces, labelled.samples, strict=True):
        np.testing.assert_allclose(found.points, face.points, atol=1e-9)
        np.testing.assert_allclose(found.face_box, face.face_box, atol=1e-9)
        np.testing.assert_array_equal(found.visible, face.visible)
        assert found.image == face.image
        assert found.occlusion_level == face.occlusion_level
        assert found.subject == face.subject
        assert found.attributes == face.attributes


def test_the_images_are_the_same_bytes_and_the_name_stays(
    tiny_labels: TinyLabels, params_with: Callable[..., Params], tmp_path: Path
) -> None:
    folder = tiny_labels.write()
    (folder / "dataset.json").write_text('{"name": "wild"}')
    convert_labels(folder, params_with().data, "coco", tmp_path / "new")
    for path in folder.glob("images/*"):
        assert (tmp_path / "new/images" / path.name).read_bytes() == path.read_bytes()
    assert read_labels(tmp_path / "new", params_with().data).name == "wild"


def test_the_task_of_a_cvat_file_has_the_labels_that_other_tools_need(
    tiny_labels: TinyLabels, params_with: Callable[..., Params], tmp_path: Path
) -> None:
    convert_labels(tiny_labels.write(), params_with().data, "cvat", tmp_path / "new")
    task = ElementTree.parse(tmp_path / "new/annotations.xml").getroot().find("meta/task")
    assert task is not None
    assert task.findtext("size") == "20"
    labels = [(row.findtext("name"), row.findtext("type")) for row in task.iter("label")]
    assert labels == [("face", "rectangle"), *((str(k), "points") for k in range(1, 6))]


def test_points_of_300w_hold_places_only_and_say_so(
    tiny_labels: TinyLabels, params_with: Callable[..., Params], tmp_path: Path
) -> None:
    tiny_labels.records[4]["annotations"][1]["P2occluded"] = True
    tiny_labels.add("images/s020_0.png", points=[(20, 24), (43, 30)])
    tiny_labels.records.append(tiny_labels.records[0])
    tiny_labels.add("images/s021_0.png", picture=False)
    out = tmp_path / "new"
    said = convert_labels(tiny_labels.write(), params_with().data, "pts", out)
    assert (said["faces"], said["written"]) == (23, 20)
    assert said["lost"] == {"face box": 22, "hidden keypoints": 1, "occlusion level": 22}
    with (out / "rejected.csv").open() as file:
        rows = {(row["image"], row["reason"]): row["detail"] for row in csv.DictReader(file)}
    missing = rows["images/s021_0.png", "image missing"]
    assert missing.startswith("labels.json, record 23: images/s021_0.png: no such image; looked")
    assert rows == {
        ("images/s021_0.png", "image missing"): missing,
        ("images/s020_0.png", "unlabelled keypoint"): (
            "keypoint 3 is unlabelled; a .pts file needs every keypoint"
        ),
        ("images/s000_0.png", "second face"): (
            "s000_0.pts has another face; a .pts file has one face"
        ),
    }
    again = read_labels(out, params_with().data).samples
    old = read_labels(tiny_labels.folder, params_with().data).samples
    assert len(again) == 20
    for one, other in zip(again, old, strict=False):
        np.testing.assert_allclose(one.points, other.points, atol=1e-12)
        assert one.subject == other.subject


def test_faces_of_one_image_that_differ_need_a_format_with_attributes(
    tiny_labels: TinyLabels, params_with: Callable[..., Params], tmp_path: Path
) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    Image.new("L", (64, 48)).save(folder / "a.png")
    rows = "a.png,ann,1,2,9,9\na.png,bob,30,40,44,45\n"
    (folder / "labels.csv").write_text(f"filename,subject,x1,y1,x2,y2\n{rows}")
    data = params_with().data
    with pytest.raises(ValueError, match=r"a\.png: its faces differ in subject \('ann', 'bob'\)"):
        convert_labels(folder, data, "sloth", tmp_path / "sloth")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces", "two"]
    convert_labels(folder, data, "coco", tmp_path / "coco")
    assert [s.subject for s in read_labels(tmp_path / "coco", data).samples] == ["ann", "bob"]


def test_what_cannot_be_converted_leaves_nothing(
    tiny_labels: TinyLabels, params_with: Callable[..., Params], tmp_path: Path
) -> None:
    folder, data = tiny_labels.write(), params_with().data
    with pytest.raises(ValueError, match="--to is xml; it must be one of sloth, label_studio"):
        convert_labels(folder, data, "xml", tmp_path / "new")
    with pytest.raises(ValueError, match="faces exists; name a new folder"):
        convert_labels(folder, data, "coco", folder)
    with pytest.raises(ValueError, match=r"is in .*faces, a folder of the set"):
        convert_labels(folder, data, "coco", folder / "coco")
    for record in tiny_labels.records:
        del record["annotations"][1]["P3x"], record["annotations"][1]["P3y"]
    tiny_labels.write()
    with pytest.raises(ValueError, match="no face can be written as pts: keypoint 3 is unlabelled"):
        convert_labels(folder, data, "pts", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]


def test_the_full_sloth_form_of_104_points_goes_round(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    points: dict[str, Any] = {f"P{k}x": 100 + k for k in range(1, 105)}
    points |= {f"P{k}y": 90.5 for k in range(1, 105)}
    points |= {"class": "FiducialPoints", "P7occluded": True, "tool-version": "1.0", "version": "2"}
    corner = [f"face_{kind}_bbox{side}" for kind in ("outer", "tight") for side in ("x", "y")]
    box: dict[str, Any] = dict.fromkeys(corner, 9.0)
    box |= {f"face_tight_bbox{side}": 200.0 for side in ("width", "height")}
    box |= {"class": "FaceBbox", "Occlusion": 3, "tool-version": "1.0"}
    eyes = {"class": "eyes", "l_eyex": 1.0, "l_status": "open"}
    record = {"filename": "a.png", "class": "image", "annotations": [points, eyes, box]}
    folder = tmp_path / "card"
    folder.mkdir()
    (folder / "set1.json").write_text(json.dumps([record]))
    Image.new("L", (640, 480)).save(folder / "a.png")
    convert_labels(folder, params_with().data, "sloth", tmp_path / "new")
    (sample,) = read_labels(tmp_path / "new", params_with().data).samples
    assert sample.points.shape == (104, 2)
    assert sample.points[103].tolist() == [204.0, 90.5]
    assert np.flatnonzero(~sample.visible).tolist() == [6]
    assert (sample.face_box, sample.occlusion_level) == ((9.0, 9.0, 200.0, 200.0), 3)
