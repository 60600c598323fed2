"""The page of a version in MLflow says first whether to promote it, and last its digests."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fpenet.deploy.engines.engine_table import Engine
from fpenet.kpi.gate import ChampionResult, ChampionState, EngineDifference
from fpenet.params import Precision
from fpenet.release.evidence import read_evidence
from fpenet.release.registry.version_description import describe_version, run_page

Folders = Callable[..., dict[str, Path]]


def difference(slice_name: str | None, change: float, low: float, high: float) -> EngineDifference:
    return EngineDifference(
        metric="crop_px/all",
        slice=slice_name,
        num_faces=40,
        num_subjects=12,
        first=2.0,
        second=2.0 * (1 + change),
        change=change,
        interval=(low, high),
        margin=0.15,
        required=True,
        passed=high < 0.15,
        why="",
        engine_id="cpu/fp32",
    )


def compared(*rows: EngineDifference) -> dict[str, Any]:
    """A gate's decision with these differences; the champion has no report of its own here."""
    champion = ChampionResult(ChampionState.COMPARED, "judged again", "deployable_v3.1")
    return {"champion": champion, "comparisons": rows}


def test_the_verdict_comes_first_and_the_digests_last(stage_folders: Folders) -> None:
    evidence = read_evidence(stage_folders())
    text = describe_version(evidence, [], run_page("1", "abc"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert headings == [
        "May be promoted",
        "KPI by region",
        "Slices that are worse than with the champion",
        "Engines",
        "Origin",
    ]
    assert "[Report](#/experiments/1/runs/abc/artifacts/report/report.html)" in text
    assert text.index("[Report](") < text.index("## KPI")
    assert "\n| all | 4.25 | - | 6.10 | n/a |\n" in text
    assert "not comparable with synthetic" in text
    assert "\n| cpu | fp32 | 3.00 ms | passed |\n" in text
    assert "Not compared: first release, none." in text
    last = text.strip().splitlines()[-1]
    assert last.startswith(f"Release `{evidence.release_digest}`; validate `")
    assert evidence.release_digest not in text.replace(last, "")


def test_a_refused_release_begins_with_its_reasons_and_long_ones_are_cut(
    stage_folders: Folders,
) -> None:
    evidence = read_evidence(stage_folders())
    reasons = ["eyes are too bad", "x" * 500, *(f"reason {n}" for n in range(3, 9))]
    lines = describe_version(evidence, reasons).splitlines()
    assert lines[:3] == ["# Refused", "", "- eyes are too bad"]
    assert lines[3] == f"- {'x' * 237}..."
    assert lines[7:9] == ["- reason 6", "- 2 more, in the report"]


def test_the_kpi_stands_beside_the_champions_and_the_cards(finished: dict[str, Path]) -> None:
    evidence = read_evidence(finished)
    text = describe_version(evidence, [])
    champion = evidence.verdict.champion
    (row,) = re.findall(r"^\| all \| (.*) \|$", text, re.MULTILINE)
    ours, theirs, card, nme = row.split(" | ")
    metrics, intervals = evidence.kpi.metrics, evidence.kpi.intervals
    value, ends = metrics["tight/image_px/all"], intervals["tight/image_px/all"]
    assert ends is not None
    assert ours == f"{value:.2f} [{ends[0]:.2f}, {ends[1]:.2f}]"
    assert re.fullmatch(r"\d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\]", theirs)
    assert card == "6.10"
    assert nme == f"{metrics[f'nme_{evidence.kpi.normaliser}/all']:.2%}"
    assert f"champion: {champion.name}" in text
    nano = (
        "nano fp16: pending; on the Jetson Nano, in the project: `prefect worker start --pool nano"
    )
    assert nano in text


def test_slices_that_got_worse_are_listed_the_worst_first(stage_folders: Folders) -> None:
    worse = difference("yaw_range=above 60", 0.2, 0.1, 0.3)
    slightly = difference("expression=smile", 0.05, 0.01, 0.09)
    same = difference("expression=neutral", 0.01, -0.02, 0.04)
    everywhere = difference(None, 0.3, 0.2, 0.4)
    folders = stage_folders(verdict=compared(slightly, same, worse, everywhere))
    text = describe_version(read_evidence(folders), [])
    section = text.split("## Slices")[1].split("## ")[0].strip().splitlines()
    assert section[4:] == [
        "| yaw range above 60 | crop_px/all | cpu/fp32 | 2 | 2.4 | +20.0% [+10.0%, +30.0%],"
        " refused by the gate |",
        "| expression smile | crop_px/all | cpu/fp32 | 2 | 2.1 | +5.0% [+1.0%, +9.0%] |",
    ]
    none_worse = stage_folders("none", verdict=compared(same))
    assert "No slice is worse, by 1 compared errors." in describe_version(
        read_evidence(none_worse), []
    )


def test_a_text_that_is_too_long_loses_its_last_sections(
    stage_folders: Folders, make_engine: Callable[[str, Precision, str], Engine]
) -> None:
    evidence = read_evidence(stage_folders())
    whole = describe_version(evidence, [])
    less = describe_version(evidence, [], limit=len(whole) - 1)
    assert "## Engines" in less
    assert "## Origin" not in less
    assert less.endswith("The rest is in the report.\n")
    many = replace(evidence, engines=(make_engine("nano", "fp16", "pending"),) * 300)
    assert len(describe_version(many, [])) <= 5000
