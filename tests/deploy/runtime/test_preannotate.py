"""``fpenet labels export``: which faces, and the model's points in Label Studio's percent."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fpenet.data.labelling.diff import diff_sets
from fpenet.data.readers import read_labels
from fpenet.data.readers.labelled_set import LabelledSet
from fpenet.data.sample import FaceSample
from fpenet.deploy.runtime.landmarker import Landmarker
from fpenet.deploy.runtime.preannotate import export_tasks, judge_labels
from synthface import FaceSpec, render_face


@pytest.fixture
def labelled(stages: SimpleNamespace, tmp_path: Path) -> LabelledSet:
    """Three faces labelled by the model itself but for shifts of 0, 20 and 8 px."""
    landmarker = Landmarker(stages.bundle / "cpu")
    samples = []
    for number, shift in enumerate((0.0, 20.0, 8.0)):
        face = render_face(FaceSpec(seed=number, yaw_deg=10.0 * number))
        name = f"images/{number}.png"
        (tmp_path / "set" / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(face.image).save(tmp_path / "set" / name)
        (found,) = landmarker.keypoints(tmp_path / "set" / name, face.face_box)
        points = found.keypoints + np.array([shift, 0.0])
        visible = np.arange(68) != 3
        samples.append(
            FaceSample(name, (640, 480), face.face_box, points, visible, number, f"s{number}")
        )
    return LabelledSet("three", tmp_path / "set", 68, samples, [])


def test_faces_are_ranked_by_their_way_from_the_model(
    stages: SimpleNamespace, labelled: LabelledSet
) -> None:
    judged = judge_labels(labelled, Landmarker(stages.bundle / "cpu"))
    assert [each.sample.image for each in judged] == [
        "images/1.png",
        "images/2.png",
        "images/0.png",
    ]
    expected = 20.0 / max(labelled.samples[1].face_box[2:])
    assert judged[0].distance == pytest.approx(expected, rel=1e-6)
    assert judged[2].distance == pytest.approx(0.0, abs=1e-9)


def test_a_task_has_the_models_points_the_labels_and_the_reason(
    stages: SimpleNamespace, labelled: LabelledSet, tmp_path: Path
) -> None:
    findings = tmp_path / "findings.csv"
    findings.write_text("image,face,check,severity,score,detail\nimages/0.png,0,swapped,drop,1,x\n")
    out = tmp_path / "out"
    said = export_tasks(labelled, Landmarker(stages.bundle / "cpu"), 1, out, findings)
    assert (said["faces"], said["tasks"], said["by_findings"]) == (3, 2, 1)
    first, second = json.loads((out / "tasks.json").read_text())
    assert first["data"]["image"] == "/data/local-files/?d=images/1.png"
    assert first["data"]["subject"] == "s1"
    assert first["data"]["why"].endswith("% of the face from the model")
    assert second["data"]["why"] == "swapped"
    for kind, shift in zip(first["predictions"], (0.0, 20.0), strict=True):
        points = [one["value"] for one in kind["result"] if one["type"] == "keypointlabels"]
        assert [one["keypointlabels"] for one in points] == [[str(n)] for n in range(1, 69)]
        label = labelled.samples[1].points[0, 0] - 20.0 + shift
        assert points[0]["x"] / 100 * 640 - 0.5 == pytest.approx(label, abs=1e-6)
        choices = [one["value"]["choices"] for one in kind["result"] if one["type"] == "choices"]
        assert choices == ([["occluded"]] if shift else []) + [["1"]]
    for name in ("interface.xml", "guide.html", "images/1.png", "images/0.png"):
        assert (out / name).stat().st_size > 0
    assert not (out / "images/2.png").exists()


def test_what_cannot_be_exported_is_refused(
    stages: SimpleNamespace, labelled: LabelledSet, tmp_path: Path
) -> None:
    model = Landmarker(stages.bundle / "cpu")
    with pytest.raises(ValueError, match="exists; name a new folder"):
        export_tasks(labelled, model, 1, tmp_path)
    other = LabelledSet("ten", labelled.root, 10, labelled.samples, [])
    with pytest.raises(ValueError, match="the model has 68 keypoints; the labels have 10"):
        export_tasks(other, model, 1, tmp_path / "out")
    table = tmp_path / "findings.csv"
    table.write_text("a,b\n")
    with pytest.raises(ValueError, match="it must have image and check"):
        export_tasks(labelled, model, 1, tmp_path / "out", table)
    assert not (tmp_path / "out").exists()


def test_a_corrected_export_comes_back_and_shows_what_was_changed(
    stages: SimpleNamespace, labelled: LabelledSet, tmp_path: Path, params_with: Any
) -> None:
    out = tmp_path / "out"
    export_tasks(labelled, Landmarker(stages.bundle / "cpu"), 2, out)
    tasks = json.loads((out / "tasks.json").read_text())
    for task in tasks:  # what Label Studio does when a prediction is taken over and saved
        (start,) = [each for each in task["predictions"] if each["model_version"] == "labels"]
        task["annotations"] = [{"result": start["result"], "completed_by": {"email": "ann@lab"}}]
    moved = next(r for r in tasks[0]["annotations"][0]["result"] if r["id"] == "p31")
    moved["value"]["x"] += 100 * 6.0 / 640  # 6 px to the right
    shown = tasks[0]["annotations"][0]["result"]
    shown.remove(next(r for r in shown if r["id"] == "p4" and r["type"] == "choices"))
    (out / "export.json").write_text(json.dumps(tasks))
    new = read_labels(out / "export.json", params_with().data)
    first, second = diff_sets(labelled, new)
    assert (first.new.image, first.changed, second.changed) == ("images/1.png", True, False)
    assert np.flatnonzero(first.moved > 0.05).tolist() == [30]
    assert first.moved[30] == pytest.approx(6.0, abs=1e-9)
    assert first.newly_visible == (3,)
    assert first.new.attributes == {"labeller": "ann@lab"}
    assert first.new.subject == "s1"
