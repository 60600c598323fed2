"""WFLW lists: 98 points, 68 picked from them, rectangle, attributes, the official split."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpenet.data.readers import find_format, read_labels
from fpenet.data.readers.datasets.wflw import TO_68, read_wflw
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, UnreadFace
from fpenet.keypoints import scheme_for
from fpenet.params import Params

POINTS = np.stack([np.arange(98.0) + 0.5, 2 * np.arange(98.0)], axis=1)


def line(image: str, rectangle: str = "10 20 40 60", flags: str = "1 0 1 0 0 1") -> str:
    numbers = " ".join(f"{value:.6f}" for value in POINTS.ravel())
    return f"{numbers} {rectangle} {flags} {image}\n"


def write(root: Path, **lists: str) -> Path:
    folder = root / "WFLW_annotations/list_98pt_rect_attr_train_test"
    folder.mkdir(parents=True)
    for part, text in lists.items():
        (folder / f"list_98pt_rect_attr_{part}.txt").write_text(text)
    for image in ("0--Parade/0_a.jpg", "37--Soccer/37_Soccer_b.jpg"):
        path = root / "WFLW_images" / image
        path.parent.mkdir(parents=True)
        Image.new("RGB", (200, 200)).save(path)
    return root


def test_both_lists_are_read_with_the_official_split(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    train, test = line("0--Parade/0_a.jpg"), line("37--Soccer/37_Soccer_b.jpg")
    root = write(tmp_path, train=train, test=test)
    assert find_format(LabelSource(root)) == "wflw"
    labelled = read_labels(root, params_with({"data.subject_per_image": True}).data)
    judged, trained = labelled.samples
    assert labelled.num_keypoints == 98
    assert (judged.image, trained.image) == (
        "WFLW_images/37--Soccer/37_Soccer_b.jpg",
        "WFLW_images/0--Parade/0_a.jpg",
    )
    assert (judged.attributes["split"], trained.attributes["split"]) == ("kpi", "train")
    assert judged.subject == judged.image
    assert judged.face_box == (10.0, 20.0, 30.0, 40.0)
    np.testing.assert_allclose(judged.points, POINTS)


def test_the_event_of_a_picture_is_nobody(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    root = write(tmp_path, test=line("37--Soccer/37_Soccer_b.jpg"))
    (sample,) = read_labels(root, params_with().data).samples
    assert sample.subject is None
    assert "split" not in sample.attributes  # one list alone splits nothing


def test_attributes_are_words(tmp_path: Path) -> None:
    root = write(tmp_path, test=line("37--Soccer/37_Soccer_b.jpg"))
    (face,) = read_wflw(LabelSource(root))
    assert isinstance(face, LabelledFace)
    assert face.attributes == {
        "pose": "large",
        "expression": "normal",
        "illumination": "extreme",
        "make_up": "none",
        "occlusion": "none",
        "blur": "blurred",
    }


def test_the_68_points_are_those_of_the_68_point_order(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    root = write(tmp_path, test=line("37--Soccer/37_Soccer_b.jpg"))
    (sample,) = read_labels(root, params_with({"data.keypoints": 68}).data).samples
    np.testing.assert_allclose(sample.points, POINTS[list(TO_68)])


def test_the_map_mirrors_as_the_68_points_do() -> None:
    # WFLW's own mirror partners, 0-based: chin, eyebrows, nose, eyes, mouth, pupils.
    partner = {k: 32 - k for k in range(33)}
    partner |= {33: 46, 34: 45, 35: 44, 36: 43, 37: 42, 38: 50, 39: 49, 40: 48, 41: 47}
    partner |= {k: k for k in range(51, 55)} | {55: 59, 56: 58, 57: 57}
    partner |= {60: 72, 61: 71, 62: 70, 63: 69, 64: 68, 65: 75, 66: 74, 67: 73}
    partner |= {76: 82, 77: 81, 78: 80, 79: 79, 83: 87, 84: 86, 85: 85}
    partner |= {88: 92, 89: 91, 90: 90, 93: 95, 94: 94, 96: 97}
    partner |= {b: a for a, b in partner.items()}
    assert sorted(partner) == list(range(98))
    assert len(set(TO_68)) == 68
    flip = scheme_for(68).flip_map
    assert flip is not None
    assert [partner[TO_68[k]] for k in range(68)] == [TO_68[flip[k]] for k in range(68)]


def test_the_older_list_has_no_rectangle(tmp_path: Path) -> None:
    root = write(tmp_path, test=line("0--Parade/0_a.jpg", rectangle="", flags=""))
    (face,) = read_wflw(LabelSource(root))
    assert isinstance(face, LabelledFace)
    assert face.face_box is None
    assert face.attributes == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("1 2 3 a.jpg\n", "3 values before the image; it must be 196 or", id="short"),
        pytest.param(line("a.jpg", rectangle="10 20 10 60"), "it has no area", id="rectangle"),
        pytest.param(line("a.jpg", flags="2 0 0 0 0 0"), "pose is 2; it must be 0 or 1", id="flag"),
        pytest.param(line("../../a.jpg"), "", id="outside"),
        pytest.param(line("a.jpg").replace("0.500000", "x", 1), "value 1 is 'x'", id="text"),
    ],
)
def test_a_broken_line_is_named_and_the_others_are_read(
    tmp_path: Path, text: str, said: str
) -> None:
    root = write(tmp_path, test=text + "\n" + line("0--Parade/0_a.jpg"))
    first, second = read_wflw(LabelSource(root))
    if said:
        assert isinstance(first, UnreadFace)
        assert said in first.refusal.detail
        assert first.where == "list_98pt_rect_attr_test.txt, line 1"
    assert isinstance(second, LabelledFace)


def test_an_image_outside_the_set_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "sets/one", test=line("../../a.jpg"))
    Image.new("L", (8, 8)).save(tmp_path / "a.jpg")
    (face,) = read_wflw(LabelSource(root))
    assert isinstance(face, UnreadFace)
    assert face.refusal.reason == "image outside"
