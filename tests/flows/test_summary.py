"""The tables that end a run."""

import pytest

from flows.summary import markdown_of, tables_of, verdict_of

RELEASE = {
    "model": "fpenet-deployable",
    "signed_by": "release key 0123456789abcdef",
    "version": "3",
    "candidate": True,
    "alias": "candidate",
    "refused": [],
    "pending": [],
    "failed": [],
    "report": "dvc/register/report.html",
    "model_card": "dvc/register/model_card.md",
    "training": {
        "net": "small",
        "parameters": 310000,
        "epochs": 17,
        "faces_seen": 50592,
        "minutes": 9.98,
    },
    "kpi": {
        "dataset": "faces",
        "part": "val",
        "num_faces": 359,
        "num_subjects": 30,
        "num_keypoints": 68,
        "normaliser": "interocular",
        "metrics": {
            "crop_px/all": 1.864,
            "nme_interocular/all": 0.05148,
            "nme_interocular/eyes": None,
        },
    },
    "parity": [
        {"name": "int8", "reference": "onnx", "mean_px": 0.1151, "max_px": 1.42, "passed": False}
    ],
    "engines": [
        {
            "reason": None,
            "sha256": None,
            "passed": True,
            "target": "cpu",
            "precision": "int8",
            "runtime": "onnxruntime",
            "size_bytes": 380_000,
            "p50_ms": 0.843,
            "status": "ready",
        },
        {
            "reason": "no worker",
            "sha256": None,
            "passed": None,
            "target": "nano",
            "precision": "fp16",
            "runtime": "tensorrt",
            "size_bytes": None,
            "p50_ms": None,
            "status": "built_not_judged",
        },
    ],
}


def test_the_tables_say_kpi_by_region_parity_checks_and_engines_by_target() -> None:
    kpi, parity, engines = tables_of(RELEASE)
    assert kpi.title == "KPI on faces, part val: 359 faces of 30 subjects"
    assert kpi.header == ("region", "crop_px", "nme_interocular")
    assert kpi.rows[:2] == (("all", "1.864", "0.05148"), ("eyes", "n/a", "n/a"))
    assert parity.rows == (("int8", "onnx", "0.1151", "1.42", "failed"),)
    assert engines.rows == (
        ("cpu", "int8", "onnxruntime", "0.38 MB", "0.84 ms", "ready"),
        ("nano", "fp16", "tensorrt", "-", "-", "built, not judged"),
    )


def test_a_candidate_is_named_with_its_training() -> None:
    assert verdict_of(RELEASE).splitlines() == [
        "trained small, 310,000 parameters: 50,592 faces seen in 17 epochs, 10.0 minutes",
        "registered fpenet-deployable version 3",
        "signed by release key 0123456789abcdef",
        "gate: passed; it is now the candidate",
    ]


def test_a_refusal_gives_every_reason_and_a_partial_release_says_so() -> None:
    refused = {"candidate": False, "refused": ["nme/all is 0.2", "too few"], "pending": ["nano"]}
    lines = verdict_of(RELEASE | refused | {"failed": ["t4"]}).splitlines()
    assert lines[3:] == [
        "gate: refused",
        "  nme/all is 0.2",
        "  too few",
        "partial release, pending targets: nano",
        "partial release, failed targets: t4",
    ]


@pytest.mark.parametrize("line", ["| all | 1.864 | 0.05148 |", "## Parity, px of the 80x80 crop"])
def test_the_page_holds_the_same_tables(line: str) -> None:
    assert line in markdown_of(RELEASE).splitlines()
