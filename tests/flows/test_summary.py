"""The tables that end a run."""

from dataclasses import replace

import pytest

from flows.summary import RunResult, markdown_of, tables_of, verdict_of
from fpenet.core.records import fields_of
from tests.manifests import MANIFEST


def test_the_tables_say_kpi_by_region_parity_checks_and_engines_by_target() -> None:
    kpi, parity, engines = tables_of(MANIFEST)
    assert kpi.title == "KPI on faces, part val: 359 faces of 30 subjects"
    assert kpi.header == ("region", "crop_px", "nme_box", "nme_interocular (faces)")
    assert kpi.rows[:2] == (
        ("all", "1.864", "0.02148", "0.05148 (212)"),
        ("eyes", "n/a", "n/a", "n/a (0)"),
    )
    assert parity.rows == (("int8", "onnx", "0.1151", "1.42", "failed"),)
    assert engines.rows == (
        ("cpu", "int8", "onnxruntime", "0.38 MB", "0.84 ms", "ready"),
        ("nano", "fp16", "tensorrt", "-", "-", "built, not judged"),
    )


def test_a_candidate_is_named_with_its_training() -> None:
    assert verdict_of(MANIFEST).splitlines() == [
        "trained small, 310,000 parameters: 50,592 faces seen in 17 epochs, 10.0 minutes",
        "registered fpenet-deployable version 3",
        "signed by release key 0123456789abcdef",
        "gate: passed; it is now the candidate",
    ]


def test_a_refusal_gives_every_reason_and_a_partial_release_says_so() -> None:
    refused = replace(
        MANIFEST,
        candidate=False,
        refused=("nme/all is 0.2", "too few"),
        pending=("nano",),
        failed=("t4",),
    )
    lines = verdict_of(refused).splitlines()
    assert lines[3:] == [
        "gate: refused",
        "  nme/all is 0.2",
        "  too few",
        "partial release, pending targets: nano",
        "  nano: on the Jetson Nano, in the project: `prefect worker start --pool nano --type"
        " process`",
        "partial release, failed targets: t4",
    ]


@pytest.mark.parametrize(
    "line", ["| all | 1.864 | 0.02148 | 0.05148 (212) |", "## Parity, px of the 80x80 crop"]
)
def test_the_page_holds_the_same_tables(line: str) -> None:
    assert line in markdown_of(MANIFEST).splitlines()


def test_the_result_of_a_run_comes_back_from_its_json() -> None:
    result = RunResult(**fields_of(MANIFEST), folders={"gate": "work/gate"}, summary="run.md")
    assert result.tree() == {
        **MANIFEST.tree(),
        "folders": {"gate": "work/gate"},
        "summary": "run.md",
    }
    assert RunResult.from_tree(result.tree(), "run") == result
