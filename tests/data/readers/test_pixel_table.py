"""Kaggle's table: images from a column of pixels, keypoints from columns with words."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpenet.core.errors import InputError
from fpenet.data.convert import convert_labels
from fpenet.data.readers import find_format, read_labels
from fpenet.data.readers.label_source import LabelSource
from fpenet.params import Params

HEAD = "left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_tip_x,nose_tip_y,Image\n"
PIXELS = [" ".join(str(60 * (row + column)) for row in range(3) for column in range(3))]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(root: Path) -> Path:
    root.mkdir()
    rows = [f"2,0.5,0,0.5,1,1,{PIXELS[0]}", f"2,0,,,1,1.5,{PIXELS[0]}", "2,0,0,0,1,1,1 2 3"]
    (root / "training.csv").write_text(HEAD + "\n".join(rows) + "\n")
    return root


def test_rows_become_images_and_faces(tmp_path: Path, params_with: Callable[..., Params]) -> None:
    root = write(tmp_path / "set")
    assert find_format(LabelSource(root)) == "pixel_table"
    labelled = read_labels(root, params_with().data)
    first, second = labelled.samples
    assert first.points.tolist() == [[2.0, 0.5], [0.0, 0.5], [1.0, 1.0]]
    np.testing.assert_array_equal(second.points, [[2, 0], [np.nan, np.nan], [1, 1.5]])
    assert labelled.origins.keypoint_names == ("left_eye", "right_eye", "nose_tip")
    with Image.open(labelled.root / first.image) as image:
        assert np.array(image).tolist() == [[0, 60, 120], [60, 120, 180], [120, 180, 240]]
    assert labelled.root.parent == tmp_path / "work/pixels"
    (refused,) = labelled.rejected
    assert refused.detail == "training.csv, line 4: 3 grey levels; must be those of a square image"
    assert sorted(path.name for path in root.iterdir()) == ["training.csv"]


def test_it_converts_to_a_table_with_its_images(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    root, out = write(tmp_path / "set"), tmp_path / "out"
    convert_labels(root, params_with().data, "table", out)
    again = read_labels(out, params_with().data)
    assert again.samples[0].points.tolist() == [[2.0, 0.5], [0.0, 0.5], [1.0, 1.0]]
    assert (out / again.samples[0].image).is_file()


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    root = write(tmp_path / "set")
    (tmp_path / "work").write_text("a file")
    with pytest.raises(InputError, match=r"the images of .*training\.csv cannot be written to"):
        read_labels(root, params_with().data)
