"""Cases 06, 07: all v 1, a body's keypoints, COCO-WholeBody, Roboflow's folders, several files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fpenet.data.readers import read_labels
from fpenet.data.readers.labelled_set import LabelledSet
from fpenet.params import Params

Read = Callable[[Path], LabelledSet]
BODY = ["nose", "left_eye", "left_shoulder", "right_shoulder", "left_hip"]


@pytest.fixture
def read(params_with: Callable[..., Params]) -> Read:
    return lambda labels: read_labels(labels, params_with().data)


def coco(file: Path, *annotations: dict[str, Any], image: str = "a.png", **category: Any) -> Path:
    (file.parent / image).parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (64, 48), 90).save(file.parent / image)
    images = [{"id": 7, "file_name": image, "width": 64, "height": 48}]
    rows = [{"image_id": 7, "category_id": 1} | annotation for annotation in annotations]
    categories = [{"id": 1, "name": "face"} | category] if category else []
    content = {"images": images, "annotations": rows, "categories": categories}
    file.write_text(json.dumps(content))
    return file.parent


def test_v_1_is_visible_where_no_point_is_2(tmp_path: Path, read: Read) -> None:
    ones = {"keypoints": [3, 4, 1, 0, 0, 0, 30, 40, 1], "center": [16, 22], "scale": 0.4}
    labelled = read(coco(tmp_path / "set/300w.json", ones))
    assert labelled.samples[0].visible.tolist() == [True, False, True]
    assert labelled.origins.visibility == (
        "all visible: no keypoint has v 2, so v 1 is taken as visible"
    )
    twos = {"keypoints": [3, 4, 1, 0, 0, 0, 30, 40, 2]}
    labelled = read(coco(tmp_path / "set/300w.json", ones, twos))
    assert [s.visible.tolist() for s in labelled.samples] == [
        [False, False, False],
        [False, False, True],
    ]


def test_the_keypoints_of_a_body_are_no_face(tmp_path: Path, read: Read) -> None:
    body = {"keypoints": [1, 2, 2] * 5}
    with pytest.raises(ValueError, match=r"category 'person' has the keypoints of a body \(nose, "):
        read(coco(tmp_path / "set/a.json", body, name="person", keypoints=BODY))
    with pytest.raises(ValueError, match="17 keypoints of category 'person' are a body's"):
        read(coco(tmp_path / "set/a.json", {"keypoints": [1, 2, 2] * 17}, name="person"))


def test_the_face_of_a_whole_body_is_read(tmp_path: Path, read: Read) -> None:
    face = [value for k in range(68) for value in (k, 10, 2)]
    body = {"keypoints": [1, 2, 2] * 17, "bbox": [0, 0, 60, 40]}
    valid = body | {"face_kpts": face, "face_valid": True, "face_box": [0, 5, 60, 20]}
    folder = coco(
        tmp_path / "set/a.json",
        valid,
        body | {"face_kpts": [0] * 204, "face_valid": False, "face_box": [0, 0, 0, 0]},
        name="person",
        keypoints=BODY,
    )
    labelled = read(folder)
    (sample,) = labelled.samples
    assert (labelled.num_keypoints, sample.face_box) == (68, (-0.5, 4.5, 60.0, 20.0))
    assert sample.points[[0, 67]].tolist() == [[0, 10], [67, 10]]
    assert labelled.rejected[0].detail == "a.json, annotation 2: face_valid is false"
    all_133 = [value for k in range(133) for value in (k, 1, 2)]
    (sample,) = read(coco(tmp_path / "other/a.json", {"keypoints": all_133}, name="person")).samples
    assert sample.points[[0, 67], 0].tolist() == [23, 90]  # the face is 23 to 90 of the 133


def test_crowds_and_other_categories_are_no_faces(tmp_path: Path, read: Read) -> None:
    points = {"keypoints": [3, 4, 2, 30, 40, 2]}
    crowd = points | {"iscrowd": 1, "segmentation": {"counts": "abc", "size": [48, 64]}}
    labelled = read(
        coco(tmp_path / "set/a.json", points, crowd, points | {"category_id": 1}, name="face")
    )
    assert len(labelled.samples) == 2
    assert labelled.rejected[0].detail == "a.json, annotation 2: a crowd (iscrowd is 1)"
    hand = {"id": 2, "name": "left glove"}
    content = json.loads((tmp_path / "set/a.json").read_text())
    content["categories"].append(hand)
    content["annotations"][2]["category_id"] = 2
    (tmp_path / "set/a.json").write_text(json.dumps(content))
    labelled = read(tmp_path / "set")
    assert labelled.rejected[1].detail == "a.json, annotation 3: category 'left glove' is no face"


def test_names_of_the_category_have_the_order_of_a_scheme(tmp_path: Path, read: Read) -> None:
    points = {"keypoints": [3, 4, 2, 30, 40, 2]}
    folder = coco(tmp_path / "set/a.json", points, keypoints=["mouth", "nose"])
    assert read(folder).samples[0].points.tolist() == [[3, 4], [30, 40]]
    names = [{"name": name} for name in ("nose", "chin", "mouth")]
    (folder / "scheme.json").write_text(json.dumps({"name": "three", "keypoints": names}))
    (sample,) = read(folder).samples
    assert np.array_equal(
        sample.points, np.array([[30, 40], [np.nan, np.nan], [3, 4]]), equal_nan=True
    )


def test_the_folders_of_roboflow_are_the_split(tmp_path: Path, read: Read) -> None:
    points = {"keypoints": [3, 4, 2, 30, 40, 2]}
    for part in ("train", "valid", "test"):
        coco(tmp_path / f"set/{part}/_annotations.coco.json", points)
    labelled = read(tmp_path / "set")
    assert {s.image: s.attributes["split"] for s in labelled.samples} == {
        "train/a.png": "train",
        "valid/a.png": "val",
        "test/a.png": "kpi",
    }


def test_several_files_are_named_after_their_parts(tmp_path: Path, read: Read) -> None:
    points = {"keypoints": [3, 4, 2, 30, 40, 2]}
    for number, part in enumerate(("train2017", "val2017")):
        coco(tmp_path / f"set/faces_{part}.json", points, image=f"{number}.png")
    parts = {s.image: s.attributes["split"] for s in read(tmp_path / "set").samples}
    assert parts == {"0.png": "train", "1.png": "val"}
