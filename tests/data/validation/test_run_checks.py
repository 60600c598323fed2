import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fpenet.data.checks.faces import labelled_faces
from fpenet.data.readers import read_labels
from fpenet.data.readers.labelled_set import LabelledSet
from fpenet.data.sample import FaceSample
from fpenet.data.validation import run_checks as sift_module
from fpenet.data.validation.run_checks import kept_samples, run_checks, run_face_checks, suspicion
from fpenet.params import Params
from tests.conftest import TinyLabels

FIVE = np.array([[20.0, 24.0], [43.0, 24.0], [32.0, 34.0], [24.0, 44.0], [40.0, 44.5]])


@pytest.fixture
def labelled(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> Callable[[], LabelledSet]:
    return lambda: read_labels(tiny_labels.write(), params_with().data)


def test_a_face_is_dropped_for_its_first_reason_and_every_finding_is_told(
    tiny_labels: TinyLabels, labelled: Callable[[], LabelledSet], params_with: Callable[..., Params]
) -> None:
    box = {f"face_tight_bbox{side}": 20 for side in ("x", "y", "width", "height")}
    points = [(0, 0), (500, 24), (32, 34), (24, 34), (36, 36)]
    tiny_labels.add("images/s020_0.png", points=points, face_box=box | {"Occlusion": 9})
    given = labelled()
    sifted = run_checks(given.samples, given.root, params_with().validate_)
    (rejected,) = sifted.rejected
    assert (rejected.face, rejected.reason, rejected.broken) == (20, "far point", True)
    found = {one.check: one.severity for one in sifted.findings if one.face == 20}
    assert list(found) == ["far point", "occluded", "outside face box"]
    assert sifted.kept == list(range(20))


def test_severity_decides_what_becomes_of_a_face(
    tiny_labels: TinyLabels, labelled: Callable[[], LabelledSet], params_with: Callable[..., Params]
) -> None:
    tiny_labels.add("images/s020_0.png", face_box={"Occlusion": 7})
    given = labelled()
    for severity, kept in (("drop", 20), ("warn", 21), ("block", 21)):
        params = params_with({"validate.severity.occluded": severity}).validate_
        sifted = run_checks(given.samples, given.root, params)
        assert len(sifted.kept) == kept
        (finding,) = (one for one in sifted.findings if one.check == "occluded")
        assert (finding.severity, finding.face) == (severity, 20)


def test_what_a_set_is_too_small_for_is_said_not_passed_over(
    labelled: Callable[[], LabelledSet], params_with: Callable[..., Params]
) -> None:
    given = labelled()
    sifted = run_checks(given.samples, given.root, params_with().validate_)
    skipped = {name: each.skipped for name, each in sifted.outcomes.items() if each.skipped}
    few = "20 faces; validate.models.min_faces is 200"
    assert skipped == {
        "labels disagree": "no face has two labels",
        "swapped": few,
        "shifted": few,
        "unlike shape": few,
        "unlike picture": few,
    }


def test_a_second_label_is_kept_out_and_checks_the_first(
    tiny_labels: TinyLabels, labelled: Callable[[], LabelledSet], params_with: Callable[..., Params]
) -> None:
    moved = [(x + 4.0, y) for x, y in FIVE]
    record = tiny_labels.add("images/s020_0.png", points=moved, picture=False)
    record["filename"] = "images/s004_1.png"
    given = labelled()
    sifted = run_checks(given.samples, given.root, params_with().validate_)
    assert [(one.face, one.reason, one.broken) for one in sifted.rejected] == [
        (20, "second label", False)
    ]
    (apart,) = (one for one in sifted.findings if one.check == "labels disagree")
    assert apart.face == 9


def test_an_image_under_two_names_is_a_warning_with_the_pair(
    tiny_labels: TinyLabels, labelled: Callable[[], LabelledSet], params_with: Callable[..., Params]
) -> None:
    tiny_labels.add("images/s020_0.png", picture=False)
    source = tiny_labels.folder / "images/s003_0.png"
    (tiny_labels.folder / "images/s020_0.png").write_bytes(source.read_bytes())
    given = labelled()
    sifted = run_checks(given.samples, given.root, params_with().validate_)
    assert [(one, other, pair.exact) for one, other, pair in sifted.shared] == [
        ("images/s003_0.png", "images/s020_0.png", True)
    ]
    assert "shared picture" in {one.check for one in sifted.findings}


def test_kept_samples_have_the_keypoints_that_the_set_agrees_on(
    tiny_labels: TinyLabels, labelled: Callable[[], LabelledSet], params_with: Callable[..., Params]
) -> None:
    tiny_labels.add("images/s020_0.png", P9x=30.0, P9y=30.0)
    given = labelled()
    sifted = run_checks(given.samples, given.root, params_with().validate_)
    kept = kept_samples(given.samples, sifted)
    assert {len(sample.points) for sample in given.samples} == {9}
    assert {(len(sample.points), len(sample.visible)) for sample in kept} == {(5, 5)}
    assert [one.detail for one in sifted.rejected] == [
        "it has a keypoint P9; the set has 5 keypoints"
    ]


def test_without_pictures_the_labels_are_judged_by_themselves(
    params_with: Callable[..., Params], labelled: Callable[[], LabelledSet]
) -> None:
    given = labelled()
    faces = labelled_faces(given.samples)
    sifted = run_face_checks(faces, params_with().validate_, None)
    assert sifted.kept == list(range(20))
    assert sifted.outcomes["shared picture"].skipped == "there are no images"


def test_no_face_is_a_failure(
    params_with: Callable[..., Params], labelled: Callable[[], LabelledSet]
) -> None:
    faces = labelled_faces(labelled().samples).take(np.array([], int))
    with pytest.raises(ValueError, match="there is no face to check"):
        run_face_checks(faces, params_with().validate_, None)


def test_no_check_is_a_failure(
    params_with: Callable[..., Params],
    labelled: Callable[[], LabelledSet],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faces = labelled_faces(labelled().samples)
    for checks in ("LABEL_CHECKS", "SET_CHECKS"):
        monkeypatch.setattr(sift_module, checks, {})
    monkeypatch.setattr(sift_module._Record, "add", lambda *_: None)
    with pytest.raises(ValueError, match="no check ran"):
        run_face_checks(faces, params_with().validate_, None)


def test_suspicion_adds_up_and_ignores_what_was_not_judged() -> None:
    scores = {"a": np.array([0.5, 2.0, np.inf]), "b": np.array([np.nan, -1.0, 0.0])}
    assert suspicion(scores).tolist() == [0.5, 2.0, 100.0]


def test_every_face_is_seen_in_its_own_window(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    from PIL import Image

    levels = np.zeros((64, 128), np.uint8)
    levels[:, 64:] = 255
    Image.fromarray(levels).save(tmp_path / "two.png")
    box, visible = (16.0, 20.0, 32.0, 28.0), np.ones(5, bool)
    left = FaceSample("two.png", (128, 64), box, FIVE, visible, 0, "ann")
    right = dataclasses.replace(left, points=FIVE + np.array([64.0, 0.0]), subject="bob")
    faces = labelled_faces([left, right])
    turns = {"two.png": None}
    seen = sift_module.image_features(tmp_path, faces, params_with().validate_, turns)
    assert seen.windows.mean(axis=(1, 2)).round().tolist() == [0.0, 255.0]
    assert list(seen.hashes) == ["two.png"]
