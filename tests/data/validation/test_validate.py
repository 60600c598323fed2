import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fpenet.data.sample import points_of, read_table
from fpenet.data.validation.validate import validate_labels
from fpenet.params import Params
from tests.conftest import TinyLabels

Validate = Callable[..., tuple[dict[str, Any], Path]]


@pytest.fixture(autouse=True, scope="module")
def _imported_once() -> None:
    """Great Expectations takes seconds to import: here once, not in a process of each run."""
    import great_expectations  # noqa: F401


@pytest.fixture
def validate(tmp_path: Path, params_with: Callable[..., Params]) -> Validate:
    def run(
        folder: Path, out: str = "validate", **overrides: object
    ) -> tuple[dict[str, Any], Path]:
        params = params_with({"data.labels": str(folder)} | overrides)
        out_dir = tmp_path / out
        out_dir.mkdir()
        summary = validate_labels(data=params.data, validate=params.validate_, out_dir=out_dir)
        return summary, out_dir

    return run


def test_the_stage_keeps_the_sound_faces_and_says_why_it_drops_the_others(
    tiny_labels: TinyLabels, validate: Validate
) -> None:
    tiny_labels.add("images/s020_0.png", face_box={"Occlusion": 7})
    tiny_labels.add("images/s021_0.png", points=[(20, 24), (43, 24), (0, 0), (24, 44), (40, 44)])
    summary, out_dir = validate(tiny_labels.write())
    expectations = summary.pop("expectations")
    origins = summary.pop("origins")
    assert (origins["format"], origins["placeholder_points"]) == ("sloth", 1)
    assert expectations.keys() == {"faces-5", "keypoints-5"}
    assert expectations["faces-5"] >= 13  # one more for each check with a score
    assert expectations["keypoints-5"] == 5
    assert summary == {
        "dataset": "faces",
        "num_keypoints": 5,
        "faces": 22,
        "kept": 21,
        "dropped": {"occluded": 1},
        "broken": 0,
        "subjects": 11,
        "images": 21,
        "found": {"occluded": 1, "balance": 1, "placeholder": 1, "unknown scheme": 1},
        "passed": True,
        "blocking": [],
    }
    report = json.loads((out_dir / "report.json").read_text())
    assert {key: report[key] for key in summary} == summary
    table, about = read_table(out_dir / "samples.parquet")
    assert about == {
        "name": "faces",
        "root": str(tiny_labels.folder.resolve()),
        "num_keypoints": "5",
        "scheme": "",
        "blocking": "",
    }
    assert points_of(table)[0, 4].tolist() == [40.0, 44.5]
    drops = list(csv.DictReader((out_dir / "drops.csv").read_text().splitlines()))
    assert [(row["image"], row["face"], row["reason"]) for row in drops] == [
        ("images/s020_0.png", "20", "occluded"),
    ]
    pages = sorted((out_dir / "data_docs").rglob("*.html"))
    assert "it has keypoints" in "".join(page.read_text() for page in pages)


def test_occlusion_level_5_is_kept_and_6_is_dropped(
    tiny_labels: TinyLabels, validate: Validate
) -> None:
    for level in (4, 5, 6, 9):
        tiny_labels.add(f"images/s02{level}_0.png", face_box={"Occlusion": level})
    summary, out_dir = validate(tiny_labels.write())
    assert (summary["kept"], summary["dropped"]) == (22, {"occluded": 2})
    table, _ = read_table(out_dir / "samples.parquet")
    levels = dict(
        zip(table["image"].to_pylist(), table["occlusion_level"].to_pylist(), strict=True)
    )
    assert {name: level for name, level in levels.items() if level} == {
        "images/s024_0.png": 4,
        "images/s025_0.png": 5,
    }
    drops = list(csv.DictReader((out_dir / "drops.csv").read_text().splitlines()))
    assert [(row["image"], row["detail"]) for row in drops] == [
        ("images/s026_0.png", "occlusion level 6; at most 5"),
        ("images/s029_0.png", "occlusion level 9; at most 5"),
    ]


def test_the_same_labels_give_the_same_bytes(tiny_labels: TinyLabels, validate: Validate) -> None:
    folder = tiny_labels.write()
    (_, one), (_, two) = validate(folder, "one"), validate(folder, "two")
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert len(files) > 5
    assert [name for name in files if (one / name).read_bytes() != (two / name).read_bytes()] == []


def test_the_findings_are_a_table_with_the_numbers_of_all_faces(
    tiny_labels: TinyLabels, validate: Validate
) -> None:
    tiny_labels.records[0]["annotations"][1]["P1x"] = "nan"  # rejected by the reader
    tiny_labels.add("images/s020_0.png", face_box={"Occlusion": 7})
    _, out_dir = validate(tiny_labels.write(), **{"validate.min_faces": 19})
    rows = list(csv.DictReader((out_dir / "findings.csv").read_text().splitlines()))
    found = [row for row in rows if row["check"] == "occluded"]
    assert found[0]["face"] == "20"
    assert (found[0]["image"], found[0]["severity"]) == ("images/s020_0.png", "drop")


def test_the_report_says_what_each_check_found_and_names_no_face(
    tiny_labels: TinyLabels, validate: Validate
) -> None:
    tiny_labels.add("images/s020_0.png", face_box={"Occlusion": 7})
    _, out_dir = validate(tiny_labels.write())
    text = (out_dir / "report.json").read_text()
    report = json.loads(text)
    assert "s020_0" not in text  # the report goes to a registry
    assert report["checks"]["occluded"]["findings"] == 1
    assert report["checks"]["swapped"]["skipped"].startswith("20 faces;")
    assert report["counts"]["occlusion level"] == {"0": 20}
    assert "images/s020_0.png" in (out_dir / "report.html").read_text()


def test_too_many_broken_faces_block_the_run_and_are_named(
    tiny_labels: TinyLabels, validate: Validate
) -> None:
    tiny_labels.add("images/s020_0.png", points=[(-500, 0), (43, 24)])
    tiny_labels.add("images/s021_0.png", picture=False)
    summary, out_dir = validate(tiny_labels.write())
    assert summary["passed"] is False
    (said,) = summary["blocking"]
    assert said.startswith("2 of 22 faces are broken, more than validate.max_rejected_fraction")
    assert "1 far point (first: images/s020_0.png: P1 is (-500, 0) px" in said
    assert read_table(out_dir / "samples.parquet")[1]["blocking"] == said
    assert "Stops the run: 2 of 22 faces" in (out_dir / "report.html").read_text()


def test_one_finding_of_a_blocking_check_blocks_the_run(
    tiny_labels: TinyLabels, validate: Validate
) -> None:
    tiny_labels.add("images/s020_0.png", face_box={"Occlusion": 7})
    summary, _ = validate(tiny_labels.write(), **{"validate.severity.occluded": "block"})
    assert summary["kept"] == 21
    assert summary["passed"] is False
    assert summary["blocking"][-1] == "occluded: 1 faces, the worst: occlusion level 7; at most 5"


def test_too_few_usable_faces_stop_the_run(tiny_labels: TinyLabels, validate: Validate) -> None:
    with pytest.raises(
        ValueError, match=r"20 usable faces of 20, fewer than validate\.min_faces 21"
    ):
        validate(tiny_labels.write(), **{"validate.min_faces": 21})


def test_points_in_the_wrong_order_fail_the_suite(
    tiny_labels: TinyLabels, validate: Validate
) -> None:
    for record in tiny_labels.records:  # 68 points with the mouth above the eyes
        shift = tiny_labels.records.index(record) * 0.01
        for number in range(1, 69):
            y = 44.0 if 37 <= number <= 48 else 24.0
            x = 18.0 + 26.0 * (number - 1) / 67 + shift
            record["annotations"][1] |= {f"P{number}x": x, f"P{number}y": y}
    summary, _ = validate(tiny_labels.write())
    (said,) = summary["blocking"]
    assert said.startswith("order of the points: the eyes are above the mouth (column eyes_to_")
    assert "20 of 20 rows differ" in said
