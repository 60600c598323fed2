import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpenet.data.images import read_grey, read_header
from fpenet.data.rejected import Refusal


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_f03_an_exif_rotation_never_parts_picture_and_landmarks(
    tmp_path: Path, orientation: int, name: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("L", (8, 4), 100).save(tmp_path / name, exif=exif)
    with pytest.raises(Refusal, match=rf"{name}: EXIF orientation {orientation}; rotate both"):
        read_grey(tmp_path / name)


def test_f03_an_exif_that_turns_nothing_is_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    Image.new("L", (8, 4), 100).save(tmp_path / "a.jpg", exif=exif)
    assert read_grey(tmp_path / "a.jpg").shape == (4, 8)


def test_f03_an_empty_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(Refusal, match=r"a\.png: an empty file; images are"):
        read_grey(tmp_path / "a.png")


def test_f03_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(Refusal, match="no such file"):
        read_header(tmp_path / "a.png")


def test_f03_one_pixel_is_a_picture(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (255, 255, 255)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "a.png"), [[255]])
