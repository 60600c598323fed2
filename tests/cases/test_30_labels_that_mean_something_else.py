"""Cases 01c, 06, 30, 31, 32: labels that look valid and mean something else."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpenet.data.describe import describe_set
from fpenet.data.readers import read_labels
from fpenet.data.validation.run_checks import run_checks
from fpenet.data.validation.validate import validate_labels
from fpenet.data.validation.validation_report import VALIDATION, ValidationReport
from fpenet.params import Params
from tests.conftest import FIVE_POINTS, TinyLabels


@pytest.mark.parametrize(
    ("image", "subject"),
    [
        ("20240501_101500.jpg", None),
        ("20240501_101500_01.jpg", None),
        ("IMG20240501_101500.jpg", None),
        ("PXL_20240501_101500123.jpg", None),
        ("001_01_02_051_06.png", "001"),
        ("s12_3.png", "s12"),
        ("20245_1015.png", "20245"),
    ],
)
def test_the_date_of_a_phone_is_no_subject(
    tiny_labels: TinyLabels, params_with: Callable[..., Params], image: str, subject: str | None
) -> None:
    tiny_labels.records.clear()
    tiny_labels.add(image)
    labelled = read_labels(tiny_labels.write(), params_with().data)
    assert [sample.subject for sample in labelled.samples] == [subject]


def test_dates_that_the_pattern_takes_are_told(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    tiny_labels.records.clear()
    for day in (1, 2):
        tiny_labels.add(f"2024050{day}_1.png")
    params = params_with()
    described = describe_set(read_labels(tiny_labels.write(), params.data), params.validate_)
    assert any(
        line.startswith("doubtful subjects: ") and "2 of 2 look like dates (e.g. 20240501)" in line
        for line in described["warnings"]
    )


def test_missing_points_are_unlabelled_and_counted(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    for number, missing in enumerate(((0, 0), (-1, -1), (-99, -99))):
        points = [*FIVE_POINTS[:4], missing]
        tiny_labels.add(f"images/s02{number}_0.png", points=points)
    params = params_with()
    labelled = read_labels(tiny_labels.write(), params.data)
    for sample in labelled.samples[20:]:
        assert np.isnan(sample.points[4]).all()
        assert sample.visible.tolist() == [True, True, True, True, False]
    checked = run_checks(
        labelled.samples, labelled.root, params.validate_, origins=labelled.origins
    )
    assert checked.outcomes["placeholder"].numbers == {"points": 3, "faces": 3}
    assert not any(face.reason == "placeholder" for face in checked.rejected)


def test_the_points_of_a_coco_set_without_a_2_are_visible(
    tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    Image.new("L", (64, 64)).save(tmp_path / "a.jpg")
    keypoints = [value for x, y in FIVE_POINTS for value in (x, y, 1)]
    about = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 64}],
        "annotations": [
            {"id": 1, "image_id": 1, "keypoints": keypoints, "bbox": [9, 9, 40, 40]},
        ],
        "categories": [{"id": 1, "name": "face"}],
    }
    (tmp_path / "faces.json").write_text(json.dumps(about))
    params = params_with()
    labelled = read_labels(tmp_path, params.data)
    assert labelled.samples[0].visible.all()
    described = describe_set(labelled, params.validate_)
    assert not any(line.startswith("no visible point: ") for line in described["warnings"])


def test_a_far_point_that_is_hidden_is_a_dummy(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    far = [*FIVE_POINTS[:4], (900.0, 900.0)]
    tiny_labels.add("images/s020_0.png", points=far, P5occluded=True)
    tiny_labels.add("images/s021_0.png", points=far)
    params = params_with()
    labelled = read_labels(tiny_labels.write(), params.data)
    checked = run_checks(labelled.samples, labelled.root, params.validate_)
    assert {f.face for f in checked.findings if f.check == "far point"} == {21}


def test_other_keypoints_are_told_that_they_have_no_flips(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    tiny_labels.records.clear()
    for number in range(4):
        points = [(20.0 + k + number, 30.0 + 2 * k) for k in range(7)]
        tiny_labels.add(f"images/s{number}_0.png", points=points)
    params = params_with()
    described = describe_set(read_labels(tiny_labels.write(), params.data), params.validate_)
    (line,) = (line for line in described["warnings"] if line.startswith("unknown scheme"))
    assert "the order of 7 keypoints is not known" in line
    assert "train.augment.flip_probability=0" in line
    assert "scheme.yaml" in line


def test_where_the_points_contradict_a_guessed_scheme_the_guess_is_named(
    tiny_labels: TinyLabels, params_with: Callable[..., Params], tmp_path: Path
) -> None:
    """98 points, of which WFLW's numbers of the eyes are below those of the mouth."""
    tiny_labels.records.clear()
    for number in range(20):
        points = [(16.0 + (k * 7) % 30, 50.0 - 0.3 * k) for k in range(98)]
        tiny_labels.add(f"images/s{number}_0.png", points=points)
    params = params_with({"data.labels": str(tiny_labels.write())})
    out_dir = tmp_path / "validate"
    out_dir.mkdir()
    validate_labels(data=params.data, validate=params.validate_, out_dir=out_dir)
    blocking = ValidationReport.read(out_dir / VALIDATION).blocking
    assert any(line.startswith("order of the points: the eyes are above") for line in blocking)
    (line,) = (line for line in blocking if "by their number alone" in line)
    assert "98 keypoints are taken for those of WFLW" in line
    assert "write a scheme.yaml beside the labels" in line
