"""Cases 02, 02b, 03, 04, 27: uploads, other keys, names, several faces and the size as shown."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fpenet.data.readers import find_format, read_labels
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, LabelledSet, UnreadFace
from fpenet.data.readers.tools.label_studio import read_label_studio
from fpenet.params import Params

Read = Callable[[Path], LabelledSet]
CONFIG = """<View><Image name="img" value="$photo"/>
<KeyPointLabels name="kp" toName="img"><Label value="right_eye"/><Label value="Nose" alias="nose"/>
<Label value="left_eye"/></KeyPointLabels></View>"""


@pytest.fixture
def read(params_with: Callable[..., Params]) -> Read:
    return lambda labels: read_labels(labels, params_with().data)


def region(label: str, x: float, y: float, **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.5, "keypointlabels": [label]}
    about = {"type": "keypointlabels", "original_width": 200, "original_height": 100}
    return {"id": f"{label}{x:g}", "value": value} | about | more


def rectangle(key: str | None, x: float, width: float, **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": 10.0, "width": width, "height": 80.0, "rectanglelabels": ["face"]}
    about = {"type": "rectanglelabels", "original_width": 200, "original_height": 100}
    return {"id": key, "value": value} | about | more


def export(
    folder: Path, *results: Any, data: Any = None, image: str = "a.png", **task: Any
) -> Path:
    (folder / image).parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (200, 100), 90).save(folder / image)
    annotations = [{"result": list(results)}]
    record = {"id": 1, "data": data or {"image": "a.png"}, "annotations": annotations} | task
    (folder / "export.json").write_text(json.dumps([record]))
    return folder


def faces_of(folder: Path) -> list[LabelledFace]:
    faces = list(read_label_studio(LabelSource(folder)))
    assert all(isinstance(face, LabelledFace) for face in faces), faces
    return [face for face in faces if isinstance(face, LabelledFace)]


@pytest.mark.parametrize(
    ("data", "image"),
    [
        ({"image": "/data/upload/1/0a1b2c3d-a.png"}, "images/0a1b2c3d-a.png"),
        ({"image": "/data/upload/1/0a1b2c3d-a.png"}, "a.png"),
        ({"img": "/data/local-files/?d=a.png"}, "a.png"),
        ({"photo": "s3://bucket/faces/a.png", "title": "Ann"}, "a.png"),
        ({"text": "no image here"}, "0a1b2c3d-a.png"),
    ],
)
def test_the_image_is_found_by_any_key(tmp_path: Path, data: dict[str, str], image: str) -> None:
    folder = export(
        tmp_path, region("1", 50, 50), data=data, image=image, file_upload="0a1b2c3d-a.png"
    )
    (face,) = faces_of(folder)
    assert face.image == image
    assert face.points.tolist() == [[99.5, 49.5]]
    assert (face.labelled_size, face.shown_upright) == ((200, 100), True)


def test_of_two_images_the_config_names_the_one(tmp_path: Path) -> None:
    data = {"icon": "icon.png", "photo": "a.png"}
    folder = export(tmp_path, region("nose", 50, 50), data=data)
    (unread,) = read_label_studio(LabelSource(folder))
    assert isinstance(unread, UnreadFace)
    assert "data names images in icon, photo; a labelling config" in unread.refusal.detail
    (folder / "config.xml").write_text(CONFIG)
    assert faces_of(folder)[0].image == "a.png"


def test_names_have_the_order_of_first_use_of_the_config_or_of_the_scheme(
    tmp_path: Path, read: Read
) -> None:
    regions = [
        region(name, x, 50) for name, x in (("left_eye", 60), ("nose", 50), ("right_eye", 40))
    ]
    folder = export(tmp_path / "set", *regions)

    def columns() -> list[float]:
        return [float(x) for x in read(folder).samples[0].points[:, 0]]

    assert columns() == [119.5, 99.5, 79.5]
    assert read(folder).origins.scheme.endswith("order of the names: first use")
    (folder / "labelling.xml").write_text(CONFIG)
    assert columns() == [79.5, 99.5, 119.5]
    assert read(folder).origins.scheme.endswith("order of the names: labelling.xml")
    names = [{"name": name} for name in ("nose", "left_eye", "right_eye")]
    (folder / "scheme.json").write_text(json.dumps({"name": "three", "keypoints": names}))
    assert columns() == [99.5, 119.5, 79.5]


def test_a_name_that_the_scheme_has_not_is_named(tmp_path: Path) -> None:
    folder = export(tmp_path, region("ear", 10, 50))
    scheme = {"name": "one", "keypoints": [{"name": "nose"}]}
    (folder / "scheme.json").write_text(json.dumps(scheme))
    (unread,) = read_label_studio(LabelSource(folder))
    assert isinstance(unread, UnreadFace)
    assert unread.refusal.detail == "'ear' is no keypoint of scheme.json: nose"


def test_numbers_may_start_at_0(tmp_path: Path, read: Read) -> None:
    labelled = read(export(tmp_path / "set", region("0", 40, 50), region("2", 60, 50)))
    assert np.array_equal(labelled.samples[0].points[:, 0], [79.5, np.nan, 119.5], equal_nan=True)
    assert "numbers from 0" in labelled.origins.scheme


@pytest.mark.parametrize("by_parent", [True, False])
def test_two_faces_by_parent_or_by_rectangle(tmp_path: Path, by_parent: bool) -> None:
    parents = [{"parentID": key} if by_parent else {} for key in ("r1", "r2")]
    folder = export(
        tmp_path,
        rectangle("r1", 10, 30),
        rectangle("r2", 50, 40),
        region("1", 20, 50, **parents[0]),
        region("1", 60, 50, **parents[1]),
        region("2", 30, 60, **parents[0]),
        region("2", 70, 60, **parents[1]),
        {"id": "r2", "type": "choices", "value": {"choices": ["3"]}},
        {"id": "220", "type": "choices", "value": {"choices": ["occluded"]}},
        {"id": "230", "type": "choices", "value": {"choices": ["occluded"]}},
    )
    first, second = faces_of(folder)
    assert first.points.tolist() == [[39.5, 49.5], [59.5, 59.5]]
    assert second.points.tolist() == [[119.5, 49.5], [139.5, 59.5]]
    assert first.face_box == (19.5, 9.5, 60.0, 80.0)
    assert second.face_box == (99.5, 9.5, 80.0, 80.0)
    assert (first.occlusion_level, second.occlusion_level) == (None, 3)
    assert first.visible.tolist() == [True, False]
    assert second.where == "export.json, task 1, annotation 1, face 2"


def test_a_point_in_two_rectangles_is_named(tmp_path: Path) -> None:
    boxes = rectangle("r1", 10, 50), rectangle("r2", 40, 50)
    (unread,) = read_label_studio(LabelSource(export(tmp_path, *boxes, region("1", 45, 50))))
    assert isinstance(unread, UnreadFace)
    assert "keypoint 1 at 89.5, 49.5 is in 2 of 2 rectangles" in unread.refusal.detail


def test_json_min_is_read(tmp_path: Path, read: Read) -> None:
    size = {"original_width": 200, "original_height": 100}
    points = [
        {"x": 25, "y": 50, "width": 0.3, "keypointlabels": ["1"]} | size,
        {"x": 75, "y": 50, "width": 0.3, "keypointlabels": ["2"]} | size,
    ]
    box = [{"x": 10, "y": 20, "width": 80, "height": 60, "rectanglelabels": ["face"]} | size]
    record = {"image": "a.png", "id": 4, "kp": points, "box": box, "annotator": 7}
    folder = export(tmp_path / "set")
    (folder / "export.json").write_text(json.dumps([record | {"annotation_id": 2}]))
    assert find_format(LabelSource(folder)) == "label_studio"
    (sample,) = read(folder).samples
    assert sample.points.tolist() == [[49.5, 49.5], [149.5, 49.5]]
    assert sample.face_box == (19.5, 19.5, 160.0, 60.0)
    assert sample.attributes == {"labeller": "7"}
