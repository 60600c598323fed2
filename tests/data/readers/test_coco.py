"""COCO keypoints: visibility, boxes from the image's corner, attributes, refusals."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fpenet.data.readers import find_format, read_labels
from fpenet.data.readers.general.coco import read_coco
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, UnreadFace
from fpenet.params import Params


def write(
    folder: Path,
    *annotations: object,
    images: Sequence[Mapping[str, object]] = ({"id": 7, "file_name": "a.png"},),
) -> Path:
    folder.mkdir(exist_ok=True)
    Image.new("L", (64, 48), 90).save(folder / "a.png")
    content = {"images": list(images), "annotations": list(annotations), "categories": []}
    (folder / "person_keypoints.json").write_text(json.dumps(content))
    return folder


def annotation(keypoints: list[Any], **more: object) -> dict[str, Any]:
    return {"id": 1, "image_id": 7, "category_id": 1, "keypoints": keypoints} | more


def test_points_are_pixel_indices_and_a_box_starts_at_the_corner_of_a_pixel(tmp_path: Path) -> None:
    keypoints = [10, 20, 2, 0, 0, 0, 30.5, 12.25, 1]
    about = {"subject": 12, "occlusion_level": 3, "camera": "051", "yaw": -15, "odd": [1]}
    folder = write(tmp_path / "set", annotation(keypoints, bbox=[8, 9, 30, 20], attributes=about))
    (face,) = read_coco(LabelSource(folder))
    assert isinstance(face, LabelledFace)
    expected = np.array([[10, 20], [np.nan, np.nan], [30.5, 12.25]])
    assert np.array_equal(face.points, expected, equal_nan=True)
    assert face.visible.tolist() == [True, False, False]
    assert face.face_box == (7.5, 8.5, 30.0, 20.0)  # a pixel's corner lies half a pixel before it
    assert (face.subject, face.occlusion_level) == ("12", 3)
    assert face.attributes == {"camera": "051", "yaw": -15.0}


def test_images_may_lie_in_a_folder_of_their_own(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    folder = write(tmp_path / "set", annotation([10, 20, 2]))
    (folder / "images").mkdir()
    (folder / "a.png").rename(folder / "images/a.png")
    assert find_format(LabelSource(folder)) == "coco"
    (sample,) = read_labels(folder, params_with().data).samples
    assert (sample.image, sample.image_size) == ("images/a.png", (64, 48))


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        pytest.param(annotation([1, 2]), "must be x, y, v for each", id="two numbers"),
        pytest.param(annotation([1, 2, 3]), "keypoint 1: v is 3; it must be 0, 1, 2", id="flag"),
        pytest.param(annotation([1, "q", 2]), "y1 is 'q'; it must be a number", id="text"),
        pytest.param(annotation([0, 0, 0]), "every keypoint has v 0", id="nothing"),
        pytest.param({"image_id": 7}, "without keypoints", id="no keypoints"),
        pytest.param(annotation([1, 2, 2]) | {"image_id": 8}, "image_id is 8; no image", id="id"),
        pytest.param(annotation([1, 2, 2], bbox=[1, 2, 0, 4]), "it has no area", id="box"),
        pytest.param(
            annotation([1, 2, 2], attributes={"occlusion_level": 12}), "must be 0 to 9", id="level"
        ),
        pytest.param(7, "is 7; it must be an object", id="number"),
    ],
)
def test_a_broken_annotation_is_named_and_the_others_are_read(
    tmp_path: Path, broken: object, said: str
) -> None:
    folder = write(tmp_path / "set", broken, annotation([1, 2, 2]))
    first, second = read_coco(LabelSource(folder))
    assert isinstance(first, UnreadFace)
    assert isinstance(second, LabelledFace)
    assert said in first.refusal.detail
    assert first.where == "person_keypoints.json, annotation 1"
    assert second.points.tolist() == [[1.0, 2.0]]


def test_an_image_outside_the_folder_is_refused(tmp_path: Path) -> None:
    images = ({"id": 7, "file_name": "../b.png"},)
    (face,) = read_coco(LabelSource(write(tmp_path / "set", annotation([1, 2, 2]), images=images)))
    assert isinstance(face, UnreadFace)
    assert face.refusal.reason == "image outside"


def test_another_object_is_no_coco_file(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text('{"images": [], "labels": []}')
    with pytest.raises(ValueError, match=r"no COCO file \(an object with the lists images and"):
        list(read_coco(LabelSource(tmp_path)))
