"""Every page of a release is written whatever was not measured, and says what is missing."""

import pickle
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from fpenet.release.evidence import (
    Evidence,
    flat_metrics,
    read_evidence,
    refusals,
    version_tags,
)
from fpenet.release.registry.register import summarise
from fpenet.release.registry.version_description import LONGEST_DESCRIPTION, describe_version
from fpenet.release.report import charts
from fpenet.release.report.model_card import write_card
from fpenet.release.report.page import Page
from fpenet.release.report.report import templates
from tests.release.report.missing_parts import MissingPart, optional_parts, without


@pytest.fixture(scope="session")
def evidence(finished: dict[str, Path]) -> Evidence:
    return read_evidence(finished)


@pytest.fixture(scope="session")
def figures() -> dict[tuple[str, bytes], Figure]:
    """Function and arguments -> the chart that was plotted."""
    return {}


@pytest.fixture
def plotted_once(monkeypatch: pytest.MonkeyPatch, figures: dict[tuple[str, bytes], Figure]) -> None:
    """Charts, which take most of the time of a page, are not written as SVG.

    A chart is plotted once for the same arguments.
    """

    def plotted(name: str, plot: Callable[..., Figure], *arguments: Any) -> Figure:
        key = name, pickle.dumps(arguments)
        if key not in figures:
            figures[key] = plot(*arguments)
        return figures[key]

    monkeypatch.setattr(charts, "svg_of", lambda _figure, _title: "<svg/>")
    for name in [name for name in vars(charts) if name.startswith("draw_")]:
        monkeypatch.setattr(charts, name, partial(plotted, name, getattr(charts, name)))


def pages_of(evidence: Evidence, champion: Any = None) -> dict[str, str]:
    """The text of the report, the model card and the description of the version in MLflow."""
    reasons = refusals(evidence, ["cpu"])
    page = Page(evidence, reasons)
    if champion is not None:
        page.champion = champion
    version_tags(evidence, reasons)
    flat_metrics(evidence)
    summarise(evidence, reasons)
    report = templates().get_template("report.html.j2").render(page.context(with_faces=False))
    return {
        "report": report,
        "card": write_card(evidence, reasons),
        "MLflow": describe_version(evidence, reasons, "#/experiments/1/runs/2"),
    }


def is_written(pages: dict[str, str], missing: Sequence[MissingPart]) -> None:
    """Every page has its sections and no value that is not text."""
    report, card, mlflow = pages.values()
    headings = ("Error by region", "Error by slice", "Engines", "What was not measured", "Origin")
    for words in headings:
        assert f">{words} <span" in report, missing
    assert len(re.findall("^## ", card, re.MULTILINE)) == 9, missing
    assert mlflow.startswith(("# May be promoted\n", "# Refused\n")), missing
    assert len(mlflow) <= LONGEST_DESCRIPTION
    for text in pages.values():
        assert not re.search(r"\bNone\b|\bnan\b|Undefined", text), missing


@pytest.mark.usefixtures("plotted_once")
def test_every_page_is_written_without_any_one_part(evidence: Evidence) -> None:
    parts = optional_parts(evidence)
    places = {part.place for part in parts}
    assert {("kpi", "slices"), ("kpi", "robustness"), ("kpi", "temporal"), ("engines",)} <= places
    assert {
        ("kpi", "metrics"),
        ("verdict", "champion", "engines"),
        ("timings", "timings"),
    } <= places
    for part in parts:
        is_written(pages_of(without(evidence, [part])), [part])


def test_every_page_is_written_without_every_part(evidence: Evidence) -> None:
    parts = optional_parts(evidence)
    is_written(pages_of(without(evidence, parts)), parts)


@pytest.mark.usefixtures("plotted_once")
@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.generate],  # to shrink a failing example would take minutes
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_every_page_is_written_without_some_parts(evidence: Evidence, data: st.DataObject) -> None:
    missing = data.draw(st.lists(st.sampled_from(optional_parts(evidence)), unique_by=str))
    is_written(pages_of(without(evidence, missing)), missing)


@pytest.mark.usefixtures("plotted_once")
def test_the_report_is_written_without_any_one_part_of_the_champions_kpi(
    evidence: Evidence,
) -> None:
    champion = Page(evidence, []).champion
    assert champion.kpi is not None
    for part in optional_parts(champion.kpi):
        less = replace(champion, kpi=without(champion.kpi, [part]))
        is_written(pages_of(evidence, less), [part])


def test_the_faces_are_shown_without_the_predictions_of_an_engine(evidence: Evidence) -> None:
    engines = tuple(replace(row, predictions=None) for row in evidence.engines)
    worst, lost = Page(replace(evidence, engines=engines), []).faces()
    assert (len(worst), lost) == (4, [])


@pytest.mark.parametrize(
    ("place", "empty", "words"),
    [
        (
            ("kpi", "slices"),
            (),
            "Error by slice: no attribute has two slices with at least 2 faces of 2 subjects.",
        ),
        (("kpi", "metrics"), {}, "Error by region: no metric was measured."),
        (("kpi", "intervals"), {}, "Intervals of the errors."),
        (("kpi", "per_point"), {}, "Error of each keypoint."),
        (("kpi", "curve", "share"), {}, "Distribution of the error over the faces."),
        (("kpi", "robustness"), None, "Robustness to inaccurate boxes and degraded images."),
        (
            ("kpi", "robustness", "curves"),
            (),
            "Robustness to inaccurate boxes and degraded images.",
        ),
        (("kpi", "temporal"), None, "Temporal jitter of the keypoints in a video."),
        (("kpi", "confidence", "ece"), None, "Calibration of the confidences."),
        (
            ("kpi", "confidence", "auroc_large_error"),
            None,
            "Detection of large errors by the confidences.",
        ),
        (("engines",), (), "Engines: none was built."),
        (("timings", "timings"), (), "Latency of cpu fp32, cpu int8."),
        (("parity",), (), "Parity of the renderings and engines with the torch net: no check."),
        (("verdict", "checks"), (), "Checks of the gate: none was made."),
        (
            ("verdict", "comparisons"),
            (),
            "Comparison with the champion: no metric was compared.",
        ),
        (("validation", "checks"), {}, "Checks of the labels: none ran."),
    ],
)
@pytest.mark.usefixtures("plotted_once")
def test_a_missing_part_is_named_in_plain_words(
    evidence: Evidence, place: tuple[str, ...], empty: Any, words: str
) -> None:
    pages = pages_of(without(evidence, [MissingPart(place, empty)]))
    gaps = " ".join(pages["report"].split('id="gaps"')[1].split("</ul>")[0].split())
    assert f"<li>{words}</li>" in gaps
    assert words in re.sub(r"`", "", pages["card"])


def test_a_set_without_slices_says_so_in_the_section_and_in_mlflow(evidence: Evidence) -> None:
    words = "no attribute has two slices with at least 2 faces of 2 subjects."
    pages = pages_of(without(evidence, [MissingPart(("kpi", "slices"), ())]))
    section = pages["report"].split('id="slices"')[1].split("<h2")[0]
    assert f"Error by slice: {words}" in section
    assert "<figure>" not in section
