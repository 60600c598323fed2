import numpy as np
import pytest
from PIL import Image

from fpenet.data.labelling.guide import guide_images, guide_page
from fpenet.data.overlay import point_colours


def test_a_page_has_the_rules_the_numbers_and_pictures_in_it() -> None:
    page = guide_page(80)
    assert "<h1>Labelling 80 keypoints</h1>" in page
    for row in ("<td>chin</td><td>1-17</td>", "<td>eyes</td><td>37-48</td>", "77-80"):
        assert row in page
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page  # nothing is fetched
    assert "60 %" in page


def test_each_picture_shows_the_colours_of_its_own_regions_alone() -> None:
    colours = {name: _rgb(point_colours(68)[k]) for name, k in (("chin", 0), ("mouth", 48))}
    pictures = {title: _colours_in(picture) for title, picture in guide_images(68).items()}
    assert list(pictures) == [
        "The face",
        "The subject's right eye",
        "The subject's left eye",
        "The mouth",
    ]
    assert colours["chin"] in pictures["The face"]
    assert colours["mouth"] not in pictures["The face"]
    assert colours["mouth"] in pictures["The mouth"]
    assert colours["chin"] not in pictures["The mouth"]


def test_a_scheme_of_ones_own_has_the_rules_and_no_picture() -> None:
    assert guide_images(10) == {}
    assert "<img" not in guide_page(10)
    assert "<li>" in guide_page(10)


@pytest.mark.parametrize("count", [68, 80, 104])
def test_no_numbered_point_lies_on_another(count: int) -> None:
    from fpenet.data.labelling.guide import model_face

    points = model_face().points[:count]
    ways = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(ways, np.inf)
    assert ways.min() > 0.4  # of a face about 400 px high


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def _colours_in(picture: Image.Image) -> set[tuple[int, ...]]:
    return set(map(tuple, np.asarray(picture).reshape(-1, 3).tolist()))
