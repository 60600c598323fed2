import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpenet.data.labelling.diff import diff_page, diff_sets, summary_of
from fpenet.data.readers.labelled_set import LabelledSet
from fpenet.data.sample import FaceSample, Floats, keypoints_box

FIVE = np.array([(20.0, 24), (43, 24), (32, 33), (24, 44), (40, 44)])


def face(
    image: str = "a.png", points: Floats = FIVE, hidden: Sequence[int] = (), level: int = 0
) -> FaceSample:
    points = np.array(points, dtype=float)
    visible = ~np.isnan(points[:, 0])
    visible[list(hidden)] = False
    return FaceSample(image, (64, 64), keypoints_box(points), points, visible, level, "s1")


def labelled(*faces: FaceSample, root: Path = Path()) -> LabelledSet:
    return LabelledSet("set", root, len(faces[0].points), list(faces), [])


def test_the_way_of_each_point_is_told() -> None:
    moved = FIVE + np.array([(0, 0), (3, 4), (0, 0), (0, 0), (0, 0)])
    (diff,) = diff_sets(labelled(face()), labelled(face(points=moved)))
    assert diff.moved.tolist() == [0.0, 5.0, 0.0, 0.0, 0.0]
    assert diff.changed
    said = summary_of([diff])
    assert (said["faces"], said["changed"], said["moved_px"]) == (
        1,
        1,
        {"all": 1.0, "eyes": 2.5, "nose": 0.0, "mouth": 0.0},
    )
    assert said["changes"][0]["farthest"] == {"keypoint": 2, "px": 5.0}


def test_rounding_of_a_format_is_no_change() -> None:
    (diff,) = diff_sets(labelled(face()), labelled(face(points=FIVE + 0.03)))
    assert not diff.changed
    assert summary_of([diff])["changes"] == []


def test_flags_levels_and_points_that_came_or_went_are_changes() -> None:
    without_last = FIVE.copy()
    without_last[4] = np.nan
    (diff,) = diff_sets(
        labelled(face(points=without_last, hidden=[0])),
        labelled(face(hidden=[1], level=4)),
    )
    assert diff.newly_visible == (0,)
    assert diff.newly_hidden == (1,)
    assert diff.labelled == (4,)
    assert diff.unlabelled == ()
    said = summary_of([diff])
    assert said["changes"][0]["newly_hidden"] == [2]  # people count from 1
    assert said["changes"][0]["occlusion_level"] == [0, 4]
    assert said["occlusion_level_changed"] == 1


def test_two_faces_of_one_image_are_paired_by_nearness_whatever_their_order() -> None:
    left, right = face(), face(points=FIVE + np.array([100, 0]))
    nudged = face(points=FIVE + np.array([101, 0]))
    found = diff_sets(labelled(left, right), labelled(nudged, left))
    assert [each.moved.max() for each in found] == [1.0, 0.0]
    assert found[0].old is right


def test_faces_that_moved_farther_come_first_and_absent_ones_are_left_out() -> None:
    old = labelled(face("a.png"), face("b.png"), face("c.png"))
    new = labelled(face("a.png", FIVE + 1), face("b.png", FIVE + 2))
    assert [each.new.image for each in diff_sets(old, new)] == ["b.png", "a.png"]


def test_sets_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match=r"4 keypoints; .* has 5"):
        diff_sets(labelled(face()), labelled(face(points=FIVE[:4])))
    with pytest.raises(ValueError, match=r"no image of .* is in it; it has e.g. z.png"):
        diff_sets(labelled(face()), labelled(face("z.png")))


def test_the_page_shows_the_changed_faces(tmp_path: Path) -> None:
    Image.new("L", (64, 64), 90).save(tmp_path / "a.png")
    Image.new("L", (64, 64), 90).save(tmp_path / "b.png")
    old = labelled(face("a.png"), face("b.png"), root=tmp_path)
    new = dataclasses.replace(old, samples=[face("a.png", FIVE + 2), face("b.png")])
    page = diff_page(diff_sets(old, new), tmp_path, most=10)
    assert page.count("<figure>") == 1
    assert "a.png" in page
    assert "b.png" not in page
    assert "mean 2.828 px" in page
