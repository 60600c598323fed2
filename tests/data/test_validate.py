import csv
import json

import pytest

from components.data.expectations import Expectation, evaluate_suites, face_table, keypoint_table
from components.data.readers import read_labels
from components.data.sample import points_of, read_table
from components.data.validate import validate_labels

# Great Expectations takes seconds to import: one run of the whole stage serves several tests.


@pytest.fixture
def validate(tmp_path, params_with):
    def run(folder, out="validate", **overrides):
        params = params_with({"data.labels": str(folder)} | overrides)
        out_dir = tmp_path / out
        out_dir.mkdir()
        summary = validate_labels(data=params.data, validate=params.validate_, out_dir=out_dir)
        return summary, out_dir

    return run


def test_the_stage_keeps_the_sound_faces_and_says_why_it_drops_the_others(tiny_labels, validate):
    tiny_labels.add("images/s020_0.png", face_box={"Occlusion": 7})
    tiny_labels.add("images/s021_0.png", points=[(20, 24), (43, 24), (0, 0), (24, 44), (40, 44)])
    summary, out_dir = validate(tiny_labels.write())
    assert summary == {
        "dataset": "faces",
        "num_keypoints": 5,
        "faces": 22,
        "kept": 20,
        "dropped": {"occluded": 1, "placeholder": 1},
        "broken": 1,
        "subjects": 10,
        "images": 20,
        "expectations": {"faces": 8, "keypoints": 5},
    }
    assert json.loads((out_dir / "report.json").read_text()) == summary
    table, about = read_table(out_dir / "samples.parquet")
    assert about == {
        "name": "faces",
        "root": str(tiny_labels.folder.resolve()),
        "num_keypoints": "5",
    }
    assert points_of(table)[0, 4].tolist() == [40.0, 44.5]
    drops = list(csv.DictReader((out_dir / "drops.csv").read_text().splitlines()))
    assert [(row["image"], row["face"], row["reason"]) for row in drops] == [
        ("images/s020_0.png", "20", "occluded"),
        ("images/s021_0.png", "21", "placeholder"),
    ]
    pages = sorted((out_dir / "data_docs").rglob("*.html"))
    assert "it has keypoints" in "".join(page.read_text() for page in pages)


def test_the_same_labels_give_the_same_bytes(tiny_labels, validate):
    folder = tiny_labels.write()
    (_, one), (_, two) = validate(folder, "one"), validate(folder, "two")
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert len(files) > 5
    assert [name for name in files if (one / name).read_bytes() != (two / name).read_bytes()] == []


def test_too_many_broken_faces_stop_the_run_and_are_named(tiny_labels, validate):
    tiny_labels.add("images/s020_0.png", points=[(0, 0), (43, 24)])
    tiny_labels.add("images/s021_0.png", picture=False)
    with pytest.raises(
        ValueError, match=r"2 of 22 faces are broken, more than validate\.max_rej"
    ) as e:
        validate(tiny_labels.write())
    assert "1 placeholder (first: images/s020_0.png: P1 is (0, 0) px" in str(e.value)


def test_too_few_usable_faces_stop_the_run(tiny_labels, validate):
    with pytest.raises(
        ValueError, match=r"20 usable faces of 20, fewer than validate\.min_faces 21"
    ):
        validate(tiny_labels.write(), **{"validate.min_faces": 21})


def test_points_in_the_wrong_order_fail_the_suite(tiny_labels, validate):
    for record in tiny_labels.records:  # 68 points with the mouth above the eyes
        shift = tiny_labels.records.index(record) * 0.01
        for number in range(1, 69):
            y = 44.0 if 37 <= number <= 48 else 24.0
            x = 18.0 + 26.0 * (number - 1) / 67 + shift
            record["annotations"][1] |= {f"P{number}x": x, f"P{number}y": y}
    with pytest.raises(
        ValueError, match="1 expectations failed: order of the points: the eyes lie"
    ):
        validate(tiny_labels.write())


def test_an_expectation_that_fails_says_what_it_found(tiny_labels, tmp_path, params_with):
    samples = read_labels(tiny_labels.write(), params_with().data).samples
    few = Expectation("ExpectTableRowCountToBeBetween", {"min_value": 21}, "enough")
    wide = Expectation("ExpectColumnValuesToBeBetween", {"column": "mean_x", "min_value": 0.9}, "x")
    found = evaluate_suites(
        {"faces": (face_table(samples), [few]), "keypoints": (keypoint_table(samples), [wide])},
        tmp_path / "docs",
    )
    assert found["faces"].failed == ["enough (min_value 21): found 20"]
    assert (
        found["keypoints"]
        .failed[0]
        .startswith("x (column mean_x, min_value 0.9): 5 of 5 rows differ, e.g. 0.1")
    )
