"""300-W points: MATLAB counts from 1, one image beside each file, refusals."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpenet.data.readers import find_format, read_labels
from fpenet.data.readers.labelled_set import UnreadFace
from fpenet.data.readers.pts import read_pts, read_pts_set
from fpenet.data.rejected import Refusal
from fpenet.params import Params

TEXT = "version: 1\nn_points:  2\n{\n1.0 1.0\n336.820955 240.864510\n}\n"


def test_the_first_pixel_is_1_there_and_0_here(tmp_path: Path) -> None:
    path = tmp_path / "a.pts"
    path.write_text(TEXT)
    expected = np.array([[0.0, 0.0], [335.820955, 239.864510]])
    np.testing.assert_allclose(read_pts(path), expected, atol=1e-12)


def test_a_tree_of_points_beside_images_is_read_in_order(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    for name, image in (("indoor/b_2", "b_2.JPG"), ("afw/a_1", "a_1.png")):
        path = tmp_path / f"{name}.pts"
        path.parent.mkdir()
        path.write_text(TEXT)
        Image.new("RGB", (400, 300)).save(path.parent / image)
    assert find_format(tmp_path) == "pts"
    labelled = read_labels(tmp_path, params_with().data)
    assert [sample.image for sample in labelled.samples] == ["afw/a_1.png", "indoor/b_2.JPG"]
    assert labelled.num_keypoints == 2
    assert labelled.samples[0].visible.all()
    assert labelled.samples[0].face_box == pytest.approx((0, 0, 335.820955, 239.864510))


def test_points_without_their_image_or_with_two_are_refused(tmp_path: Path) -> None:
    for name in ("alone.pts", "two.pts"):
        (tmp_path / name).write_text(TEXT)
    for name in ("two.png", "two.jpg"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    alone, two = read_pts_set(tmp_path)
    assert isinstance(alone, UnreadFace)
    assert isinstance(two, UnreadFace)
    assert "one image of its name (.png, .jpg, .jpeg, .webp, " in alone.refusal.detail
    assert "it has none" in alone.refusal.detail
    assert "it has two.png, two.jpg" in two.refusal.detail


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("1 2\n3 4\n", "has no points between", id="bare"),
        pytest.param(TEXT.replace("}\n", ""), "has no points between", id="cut short"),
        pytest.param(TEXT.replace("  2", "3"), "n_points is '3', but 2 follow", id="count"),
        pytest.param(TEXT.replace("1.0 1.0", "1.0"), "lines of x and y", id="one number"),
        pytest.param(TEXT.replace("1.0 1.0", "1.0 nan"), "y1 is nan; it must be finite", id="nan"),
        pytest.param("n_points: 0\n{\n}\n", "must be 1 to 1000 lines", id="none"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.pts"
    path.write_text(text)
    with pytest.raises(Refusal, match=rf"a\.pts.*{said}"):
        read_pts(path)
