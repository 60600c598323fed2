"""``fpenet describe``: the counts are those of the labels, and the sheet shows faces."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fpenet.data.describe import contact_sheet, describe_set
from fpenet.data.overlay import PICTURE_PX
from fpenet.data.readers import read_labels
from fpenet.data.readers.labelled_set import LabelledSet
from fpenet.params import Params
from tests.conftest import TinyLabels

Described = tuple[LabelledSet, dict[str, Any]]


@pytest.fixture
def described(tiny_labels: TinyLabels, params_with: Callable[..., Params]) -> Described:
    tiny_labels.records[0]["annotations"][1]["P2occluded"] = True
    tiny_labels.records[1]["annotations"][0]["Occlusion"] = 7
    tiny_labels.add("images/s020_0.png", picture=False)
    folder = tiny_labels.write()
    rows = "".join(f"images/s{n // 2:03d}_{n % 2}.png,05_{n % 2},{n}\n" for n in range(19))
    (folder / "about.csv").write_text(f"filename,camera,age\n{rows}")
    params = params_with()
    labelled = read_labels(folder, params.data)
    return labelled, describe_set(labelled, params.validate_)


def test_everything_the_labels_tell_is_counted(described: Described) -> None:
    said = described[1]
    assert (said["faces"], said["images"], said["usable"]) == (21, 20, 19)
    assert said["drops"] == {"image missing": 1, "occluded": 1}
    assert said["subjects"] == {
        "subjects": 10,
        "faces of unknown subjects": 0,
        "faces of a subject": {"least": 2, "median": 2.0, "most": 2},
    }
    assert said["occlusion level"] == {"0": 19, "7": 1}
    assert said["face size"] == {"32 to 48 px": 20}
    assert said["by"]["camera"] == {"05_0": 10, "05_1": 9, "unknown": 1}
    assert said["keypoints"]["visible"] == {"1": 1.0, "2": 0.95, "3": 1.0, "4": 1.0, "5": 1.0}
    assert said["keypoints"]["regions"] == {
        "all": {"labelled": 1.0, "visible": 0.99},
        "eyes": {"labelled": 1.0, "visible": 0.975},
        "nose": {"labelled": 1.0, "visible": 1.0},
        "mouth": {"labelled": 1.0, "visible": 1.0},
    }
    assert said["keypoints"]["faces with every keypoint visible"] == 19


def test_an_attribute_of_many_values_is_told_by_its_range(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    folder = tiny_labels.write()
    for number in range(30):
        tiny_labels.add(f"images/s{100 + number}_0.png")
    tiny_labels.write()
    names = [record["filename"] for record in tiny_labels.records]
    rows = "".join(f"{name},{n}.5,who{n}\n" for n, name in enumerate(names))
    (folder / "about.csv").write_text(f"filename,age,place\n{rows}")
    params = params_with()
    said = describe_set(read_labels(folder, params.data), params.validate_)
    assert said["by"]["age"] == {"least": 0.5, "median": 25.0, "most": 49.5}
    assert said["by"]["place"] == {"different values": 50}


def test_the_sheet_shows_each_face_once_with_its_points(described: Described) -> None:
    labelled = described[0]
    sheet = np.asarray(contact_sheet(labelled))
    assert sheet.shape == (3 * PICTURE_PX, 8 * PICTURE_PX, 3)  # 20 faces, 8 in a row
    first = sheet[:PICTURE_PX, :PICTURE_PX].astype(int)
    coloured = np.abs(first[..., 0] - first[..., 2]) > 100
    assert 5 * 4 < coloured.sum() < 5 * 25  # five yellow dots on a grey picture
    assert (sheet[-PICTURE_PX:, 4 * PICTURE_PX :] == 255).all()


def test_a_picture_that_cannot_be_read_is_a_grey_square(described: Described) -> None:
    labelled = described[0]
    path = labelled.root / labelled.samples[0].image
    path.write_bytes(path.read_bytes()[:60])
    sheet = np.asarray(contact_sheet(labelled))
    assert (sheet[PICTURE_PX - 1, PICTURE_PX - 1] == 128).all()


def test_a_set_without_a_usable_face_is_a_failure(
    described: Described, params_with: Callable[..., Params]
) -> None:
    labelled = described[0]
    labelled.samples.clear()
    with pytest.raises(ValueError, match=r"no usable face in it; the first face: labels\.json"):
        describe_set(labelled, params_with().validate_)
