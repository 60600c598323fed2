import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, UnreadFace
from fpenet.data.readers.tools.sloth import read_box, read_points, read_sloth
from fpenet.data.rejected import Refusal
from tests.conftest import TinyLabels


def test_keypoint_numbers_count_from_one_in_labels_and_from_zero_here() -> None:
    points, visible = read_points({"P1x": 1.5, "P1y": 2.5, "P3x": "7", "P3y": 8})
    np.testing.assert_array_equal(points, [[1.5, 2.5], [np.nan, np.nan], [7.0, 8.0]])
    np.testing.assert_array_equal(visible, [True, False, True])


@pytest.mark.parametrize("key", ["P2occluded", "P2Occ", "p2occlusion"])
def test_an_occluded_point_keeps_its_place_and_is_not_visible(key: str) -> None:
    points, visible = read_points({"P1x": 1, "P1y": 2, "P2x": 3, "P2y": 4, key: True})
    assert points[1].tolist() == [3.0, 4.0]
    assert visible.tolist() == [True, False]


def test_an_occluded_flag_that_is_false_hides_nothing() -> None:
    assert read_points({"P1x": 1, "P1y": 2, "P1occluded": False})[1].tolist() == [True]
    assert read_points({"P1x": 1, "P1y": 2, "P1occluded": "false"})[1].tolist() == [True]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        pytest.param({"P0x": 1, "P0y": 2}, "P0x: keypoints are numbered from 1", id="zero"),
        pytest.param({"P999999x": 1, "P999999y": 2}, "numbered from 1 to 1000", id="huge number"),
        pytest.param({"P1x": 1}, "one of P1x and P1y is missing", id="half a point"),
        pytest.param({"P1x": 1, "P01x": 2, "P1y": 2}, "keypoint 1 is repeated", id="twice"),
        pytest.param({"P1x": "left", "P1y": 2}, "P1x is 'left'; it must be a number", id="text"),
        pytest.param({"P1x": True, "P1y": 2}, "P1x is True; it must be a number", id="bool"),
        pytest.param({"P1x": float("nan"), "P1y": 2}, "P1x is nan; it must be finite", id="nan"),
        pytest.param({"P1x": 1, "P1y": float("-inf")}, "P1y is -inf; it must be finite", id="inf"),
        pytest.param({"version": "1.0"}, "without a point", id="none"),
    ],
)
def test_points_that_cannot_be_used_name_their_key(keys: dict[str, object], said: str) -> None:
    with pytest.raises(Refusal, match=said):
        read_points(keys)


def tight_box(x: float, y: float, width: float, height: float) -> dict[str, float]:
    return {
        "face_tight_bboxx": x,
        "face_tight_bboxy": y,
        "face_tight_bboxwidth": width,
        "face_tight_bboxheight": height,
    }


def test_the_tight_box_and_the_occlusion_level_are_read() -> None:
    tight = tight_box(1, 2, 3, 4)
    assert read_box({**tight, "face_outer_bboxx": 9, "Occlusionx": "3"}) == ((1, 2, 3, 4), 3)
    assert read_box({"Occlusion": 0}) == (None, 0)


def test_a_box_without_area_or_a_level_beyond_nine_is_refused() -> None:
    with pytest.raises(Refusal, match="face_tight_bbox is 0x4 px; it has no area"):
        read_box(tight_box(1, 2, 0, 4))
    with pytest.raises(Refusal, match="occlusion is 10; it must be 0 to 9"):
        read_box({"Occlusion": 10})


def test_each_face_of_a_picture_gets_the_box_around_its_own_points(tmp_path: Path) -> None:
    def points(x: float) -> dict[str, object]:
        return {"class": "FiducialPoints", "P1x": x, "P1y": 1, "P2x": x + 8, "P2y": 9}

    annotations = [
        {"class": "FaceBbox", **tight_box(100, 0, 10, 10)},
        points(1),
        {"class": "eyes"},
        points(101),
        points(300),
        {"class": "FaceBbox", **tight_box(0, 0, 10, 10)},
    ]
    Image.new("L", (400, 20)).save(tmp_path / "a.png")
    (tmp_path / "labels.json").write_text(
        json.dumps([{"filename": "a.png", "annotations": annotations}])
    )
    faces = list(read_sloth(LabelSource(tmp_path)))
    boxes = [face.face_box for face in faces if isinstance(face, LabelledFace)]
    assert boxes == [(0, 0, 10, 10), (100, 0, 10, 10), None]


def test_a_broken_record_leaves_the_others_readable(tiny_labels: TinyLabels) -> None:
    tiny_labels.records[3]["annotations"] = "none"
    records = [*tiny_labels.records[:5], ["not", "a", "record"], *tiny_labels.records[6:]]
    (tiny_labels.folder / "labels.json").write_text(json.dumps(records))
    faces = list(read_sloth(LabelSource(tiny_labels.folder)))
    unread = [face for face in faces if isinstance(face, UnreadFace)]
    assert sum(isinstance(face, LabelledFace) for face in faces) == 18
    assert [one.where for one in unread] == ["labels.json, record 4", "labels.json, record 6"]
    assert unread[0].refusal.detail == "annotations is 'none'; it must be a list"


def test_a_face_without_keypoints_is_set_aside_but_not_broken(tiny_labels: TinyLabels) -> None:
    tiny_labels.records[0]["annotations"].pop()
    first = next(iter(read_sloth(LabelSource(tiny_labels.write()))))
    assert isinstance(first, UnreadFace)
    assert (first.refusal.reason, first.refusal.broken) == ("no keypoints", False)


def test_every_label_file_of_a_folder_is_read(tiny_labels: TinyLabels) -> None:
    folder = tiny_labels.write()
    text = (folder / "labels.json").read_text()
    (folder / "labels.json").rename(folder / "a.json")
    (folder / "b.json").write_text(text)
    (folder / "dataset.json").write_text('{"name": "two"}')
    assert len(list(read_sloth(LabelSource(folder)))) == 40
