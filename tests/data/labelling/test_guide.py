import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpenet.core.errors import InputError
from fpenet.data.labelling.guide import guide_images, guide_page
from fpenet.data.overlay import point_colours
from fpenet.params.scheme import KeypointParams, read_scheme


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


def test_a_scheme_of_ones_own_shows_its_names_its_regions_and_its_picture(tmp_path: Path) -> None:
    colours = np.zeros((4, 6, 3), np.uint8)
    colours[:, :3] = (250, 20, 30)
    Image.fromarray(colours).save(tmp_path / "mine.png")
    keypoints = "[{name: right_eye}, {name: left_eye}, {name: '3'}]"
    text = f"name: mine\nkeypoints: {keypoints}\nregions: {{eyes: [1, 2]}}\npicture: mine.png\n"
    (tmp_path / "scheme.yaml").write_text(text)
    page = guide_page(3, read_scheme(tmp_path / "scheme.yaml"))
    for row in ("<td>1</td><td>right_eye</td>", "<td>2</td><td>left_eye</td>", "<td>1-2</td>"):
        assert f"<tr>{row}" in page or f"{row}</tr>" in page
    assert "<td>3</td>" not in page  # a number is no name
    (data,) = re.findall('base64,([^"]+)"', page)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    np.testing.assert_array_equal(shown, colours)


def test_a_scheme_with_names_has_no_rendered_images_of_other_keypoints(tmp_path: Path) -> None:
    keypoints = ", ".join(f"{{name: k{k}}}" for k in range(68))
    (tmp_path / "scheme.yaml").write_text(f"name: mine\nkeypoints: [{keypoints}]\n")
    scheme = read_scheme(tmp_path / "scheme.yaml")
    assert "<img" not in guide_page(68, scheme)
    numbered = [KeypointParams(name=str(k)) for k in range(1, 69)]
    same = scheme.model_copy(update={"keypoints": tuple(numbered)})
    assert guide_page(68, same).count("<img") == 4


def test_a_picture_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scheme.yaml"
    path.write_text("name: mine\nkeypoints: [{name: nose}]\npicture: nose.png\n")
    with pytest.raises(InputError, match=r"scheme\.yaml: picture is nose\.png; .*does not exist$"):
        read_scheme(path)


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
