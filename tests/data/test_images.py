from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpenet.data.images import read_colour, read_grey, read_header
from fpenet.data.rejected import Refusal


def test_colour_becomes_luma_and_grey_stays(tmp_path: Path) -> None:
    Image.new("RGB", (2, 1), (255, 0, 0)).save(tmp_path / "red.png")
    Image.new("L", (2, 1), 93).save(tmp_path / "grey.png")
    assert read_grey(tmp_path / "red.png").tolist() == [[76, 76]]  # 0.299 of 255
    assert read_grey(tmp_path / "grey.png").tolist() == [[93, 93]]
    assert read_header(tmp_path / "grey.png").size == (2, 1)


def test_sixteen_bit_levels_are_scaled_not_cut(tmp_path: Path) -> None:
    levels = np.array([[0, 257, 32768, 65535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    assert read_grey(tmp_path / "deep.png").tolist() == [[0, 1, 128, 255]]


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "CMYK"])
def test_every_mode_of_a_picture_has_the_same_grey(tmp_path: Path, mode: str) -> None:
    levels = np.repeat(np.array([[0, 255]], np.uint8), 4, axis=0)
    picture = Image.fromarray(levels)
    picture = (
        picture.convert("RGB").convert(mode) if mode in ("CMYK", "P") else picture.convert(mode)
    )
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    picture.save(path, quality=100) if mode == "CMYK" else picture.save(path)
    found = read_grey(path).astype(int)
    np.testing.assert_allclose(found, levels, atol=60 if mode == "CMYK" else 0)


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
def test_colour_is_kept_and_its_luma_is_the_grey_of_the_file(tmp_path: Path, mode: str) -> None:
    levels = np.array([[[255, 0, 0], [0, 10, 200]], [[1, 2, 3], [90, 90, 90]]], np.uint8)
    Image.fromarray(levels).convert(mode).save(tmp_path / "a.png")
    colour = read_colour(tmp_path / "a.png")
    luma = np.asarray(Image.fromarray(colour).convert("L"))
    assert luma.tolist() == read_grey(tmp_path / "a.png").tolist()
    if mode != "P":  # a palette of the web has other colours
        assert colour.tolist() == levels.tolist()


def test_a_grey_file_has_three_equal_channels_and_16_bits_are_scaled(tmp_path: Path) -> None:
    Image.new("L", (2, 1), 93).save(tmp_path / "grey.png")
    assert read_colour(tmp_path / "grey.png").tolist() == [[[93] * 3, [93] * 3]]
    Image.fromarray(np.array([[257, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert read_colour(tmp_path / "deep.png").tolist() == [[[1] * 3, [255] * 3]]
    Image.new("RGBA", (2, 2), (9, 9, 9, 200)).save(tmp_path / "glass.png")
    with pytest.raises(Refusal, match=r"glass\.png: alpha down to 200"):
        read_colour(tmp_path / "glass.png")


def test_a_see_through_picture_is_refused(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (9, 9, 9, 200)).save(tmp_path / "glass.png")
    with pytest.raises(Refusal, match=r"glass\.png: alpha down to 200"):
        read_grey(tmp_path / "glass.png")
