"""Label Studio exports: percent to pixels, hidden points, levels, labellers, refusals."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fpenet.data.labelling.tasks import results_of
from fpenet.data.readers import find_format, read_labels
from fpenet.data.readers.label_source import LabelSource
from fpenet.data.readers.labelled_set import LabelledFace, UnreadFace
from fpenet.data.readers.tools.label_studio import read_label_studio
from fpenet.params import Params


def write(folder: Path, *annotations: object, **data: object) -> Path:
    folder.mkdir(exist_ok=True)
    Image.new("L", (200, 100), 90).save(folder / "a.png")
    data = {"image": "/data/local-files/?d=a.png"} | data
    task = {"id": 1, "data": data, "annotations": list(annotations), "predictions": []}
    (folder / "export.json").write_text(json.dumps([task]))
    return folder


def point(name: str, x: object, y: object, **more: object) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.5, "keypointlabels": [name]}
    size = {"original_width": 200, "original_height": 100, "image_rotation": 0}
    return {"id": f"r{name}", "type": "keypointlabels", "value": value} | size | more


def test_percent_become_pixels_and_flags_are_read(tmp_path: Path) -> None:
    results = [
        point("1", 0.0, 100.0),
        point("3", 50.0, 25.0),
        {"id": "r3", "type": "choices", "value": {"choices": ["occluded"]}},
        {"id": "q", "type": "choices", "value": {"choices": ["4"]}},
        {
            **point("1", 10.0, 20.0),
            "type": "rectanglelabels",
            "value": {"x": 10.0, "y": 20.0, "width": 30, "height": 40, "rectanglelabels": ["face"]},
        },
    ]
    folder = write(tmp_path / "set", {"result": results, "completed_by": 7}, subject="s4")
    (face,) = read_label_studio(LabelSource(folder))
    assert isinstance(face, LabelledFace)
    # 0 % is the left edge, half a pixel before the first centre; 100 % of 100 px is row 99.5.
    assert np.array_equal(
        face.points, [[-0.5, 99.5], [np.nan, np.nan], [99.5, 24.5]], equal_nan=True
    )
    assert face.visible.tolist() == [True, False, False]
    assert face.face_box == (19.5, 19.5, 60.0, 40.0)
    assert (face.image, face.occlusion_level, face.subject) == ("a.png", 4, "s4")
    assert face.attributes == {"labeller": "7"}


def test_two_people_are_two_faces_and_a_skipped_task_is_none(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "set",
        {"result": [point("1", 1, 1)], "completed_by": {"id": 3, "email": "ann@lab"}},
        {"result": [point("1", 2, 2)], "was_cancelled": True},
        {"result": [point("1", 3, 3)], "completed_by": 5},
    )
    found = [
        face for face in read_label_studio(LabelSource(folder)) if isinstance(face, LabelledFace)
    ]
    assert [face.attributes["labeller"] for face in found] == ["ann@lab", "5"]
    assert found[1].where == "export.json, task 1, annotation 3"


@given(
    st.lists(
        st.tuples(st.floats(-50, 700), st.floats(-50, 500), st.booleans()), min_size=1, max_size=9
    )
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, bool]]
) -> None:
    points, visible = np.array([row[:2] for row in rows]), np.array([row[2] for row in rows])
    results = results_of(points, visible, (200, 100), (3.0, 4.0, 50.0, 60.0), 2)
    folder = write(tmp_path_factory.mktemp("set"), {"result": results})
    (face,) = read_label_studio(LabelSource(folder))
    assert isinstance(face, LabelledFace)
    assert np.allclose(face.points, points, rtol=0, atol=1e-6)
    assert face.visible.tolist() == visible.tolist()
    assert face.face_box == pytest.approx((3.0, 4.0, 50.0, 60.0), abs=1e-9)
    assert face.occlusion_level == 2


def test_the_format_is_found_by_looking(tmp_path: Path, params_with: Callable[..., Params]) -> None:
    folder = write(tmp_path / "set", {"result": [point("1", 1, 1), point("2", 20, 20)]})
    assert find_format(LabelSource(folder)) == "label_studio"
    labelled = read_labels(folder, params_with({"data.labels": str(folder)}).data)
    assert labelled.num_keypoints == 2
    assert labelled.samples[0].image_size == (200, 100)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([point("", 1, 1)], "keypointlabels is ['']; it must be one label"),
        ([point("1001", 1, 1)], "1001: keypoints are numbered from 1 to 1000"),
        ([point("1", 1, 1), point("1", 2, 2)], "keypoint 1 is repeated"),
        ([point("1", "5", 1)], "x is '5'; it must be a finite percentage"),
        ([point("1", 1, 1, image_rotation=90)], "image_rotation is 90; it must be 0"),
        ([point("1", 1, 1, original_width=None)], "they must be px"),
        ([{"type": "keypointlabels"}], "a result without an object value"),
        ([], "an annotation without a keypoint"),
        ("x", "an annotation without a list result"),
        (
            [point("1", 1, 1), {"id": "q", "type": "choices", "value": {"choices": ["12"]}}],
            "occlusion is 12; it must be 0 to 9",
        ),
    ],
)
def test_a_broken_annotation_is_named(tmp_path: Path, results: object, message: str) -> None:
    (unread,) = read_label_studio(LabelSource(write(tmp_path / "set", {"result": results})))
    assert isinstance(unread, UnreadFace)
    assert unread.where == "export.json, task 1, annotation 1"
    assert message in unread.refusal.detail


def test_images_outside_and_tasks_of_nobody_are_refused(tmp_path: Path) -> None:
    (unread,) = read_label_studio(
        LabelSource(write(tmp_path / "set", {"result": []}, image="?d=../b.png"))
    )
    assert isinstance(unread, UnreadFace)
    assert unread.refusal.reason == "image outside"
    (unread,) = read_label_studio(LabelSource(write(tmp_path / "set")))
    assert isinstance(unread, UnreadFace)
    assert unread.refusal.detail == "not labelled yet"
    assert not unread.refusal.broken
