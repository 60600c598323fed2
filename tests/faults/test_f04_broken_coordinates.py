import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fpenet.data.readers import read_labels
from fpenet.data.validation.run_checks import run_checks
from fpenet.params import Params
from tests.conftest import TinyLabels


def rejections(folder: Path, params_with: Callable[..., Params]) -> list[tuple[str, str]]:
    """Every rejection of readers and checks, as (reason, detail)."""
    params = params_with()
    labelled = read_labels(folder, params.data)
    sifted = run_checks(labelled.samples, labelled.root, params.validate_)
    assert len(sifted.kept) == 20
    return [(one.reason, one.detail) for one in [*labelled.rejected, *sifted.rejected]]


@pytest.mark.parametrize(
    ("point", "reason", "said"),
    [
        (("NaN", 24.0), "coordinate", "labels.json, record 21: P2x is nan; it must be finite"),
        ((float("nan"), 24.0), "coordinate", "labels.json, record 21: P2x is nan"),
        ((43.0, float("inf")), "coordinate", "record 21: P2y is inf; it must be finite"),
        ((-500.0, 24.0), "far point", "P2 is (-500, 24) px in a 64x64 image"),
        ((1e300, 24.0), "far point", "P2 is (1e+300, 24) px in a 64x64 image"),
        ((None, 24.0), "coordinate", "record 21: P2: one of P2x and P2y is missing"),
    ],
)
def test_f04_a_broken_coordinate_names_sample_and_point(
    tiny_labels: TinyLabels,
    params_with: Callable[..., Params],
    point: tuple[Any, Any],
    reason: str,
    said: str,
) -> None:
    tiny_labels.add("images/s020_0.png", points=[(20, 24), point, (32, 34), (24, 44), (40, 44)])
    ((found, detail),) = rejections(tiny_labels.write(), params_with)
    assert found == reason
    assert said in detail


def test_f04_a_face_with_a_point_too_many_is_named(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    tiny_labels.add("images/s020_0.png", P9x=30.0, P9y=30.0)
    assert rejections(tiny_labels.write(), params_with) == [
        ("keypoint count", "it has a keypoint P9; the set has 5 keypoints")
    ]


def test_f04_an_index_given_twice_is_named(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    record = tiny_labels.add("images/s020_0.png")
    folder = tiny_labels.write()
    text = json.dumps(tiny_labels.records)
    point = json.dumps({"P1x": record["annotations"][1]["P1x"]})[1:-1]
    assert text.count(point) == 1
    (folder / "labels.json").write_text(text.replace(point, f"{point}, {point}"))
    ((reason, detail),) = rejections(folder, params_with)
    assert (reason, detail) == ("label", "labels.json, record 21: key 'P1x' is repeated")


def test_f04_the_same_face_twice_is_named(
    tiny_labels: TinyLabels, params_with: Callable[..., Params]
) -> None:
    tiny_labels.records.append(tiny_labels.records[4])
    assert rejections(tiny_labels.write(), params_with) == [
        ("repeated", "same image and points as a face of images/s002_0.png")
    ]
