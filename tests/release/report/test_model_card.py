"""The model card holds numbers of the evidence, and none that differs from it."""

import json
import re
import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fpenet.kpi.slices.group_spread import GroupSpread
from fpenet.params import Params
from fpenet.release.evidence import read_evidence, refusals
from fpenet.release.report.citations import SOURCES, check_card
from fpenet.release.report.model_card import (
    SECTIONS,
    write_card,
)

HEADINGS = [
    "Model architecture",
    "Training data",
    "Evaluation data",
    "Methodology and KPI",
    "Real-time inference performance",
    "Limitations",
    "Ethical considerations",
    "Model versions",
    "Evidence",
]


@pytest.fixture
def card(report_dir: Path) -> str:
    return (report_dir / "model_card.md").read_text()


def numbers_of(value: Any) -> list[float]:
    """Every number in a JSON value."""
    if isinstance(value, dict):
        return [number for each in value.values() for number in numbers_of(each)]
    if isinstance(value, list):
        return [number for each in value for number in numbers_of(each)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def unfounded(card: str, folders: dict[str, Path]) -> list[str]:
    """The card's linked numbers that do not stand in the file which they link to."""
    known = {}
    for name, path in SOURCES.items():
        stage, _, file = path.partition("/")
        known[name] = numbers_of(json.loads((folders[stage] / file).read_text()))
    wrong = []
    for said, source in re.findall(r"\[([^\]]*\d[^\]]*)\]\[(\w+)\]", card):
        if source != "nvidia":
            number = said.replace(",", "").rstrip("%")
            written = 1e-2 if said.endswith("%") else 1.0
            exponent = Decimal(number).as_tuple().exponent
            assert isinstance(exponent, int)
            half_a_digit = 0.5000001 * 10.0**exponent
            if not any(abs(one / written - float(number)) <= half_a_digit for one in known[source]):
                wrong.append(f"{said} of {source}")
    return wrong


def test_it_has_the_headings_of_nvidias_card(card: str) -> None:
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == HEADINGS == list(SECTIONS)


def test_every_number_stands_in_the_file_that_it_links_to(
    card: str, finished: dict[str, Path]
) -> None:
    assert len(re.findall(r"\]\[kpi\]", card)) > 50
    assert unfounded(card, finished) == []


def test_a_digit_outside_of_a_link_is_part_of_a_name(card: str) -> None:
    text = card.split("\n[labels]: ")[0]
    bare = re.sub(r"`[^`]*`|\[[^\]]+\]\[\w+\]", "", text)
    assert re.findall(r".*\d.*", bare) == []


def test_every_link_names_a_file_and_its_digest(card: str, finished: dict[str, Path]) -> None:
    used = set(re.findall(r"\]\[(\w+)\]", card))
    defined = dict(re.findall(r'^\[(\w+)\]: \S+ "(.*)"$', card, re.MULTILINE))
    assert used <= set(defined)
    assert set(defined) == {*SOURCES, "nvidia"}
    for name, path in SOURCES.items():
        assert defined[name].startswith(f"{path}, SHA-256 ")
    check_card(card, finished)


@pytest.mark.parametrize("source", SOURCES)
def test_a_card_and_evidence_that_differ_are_told_apart(
    card: str, finished: dict[str, Path], tmp_path: Path, source: str
) -> None:
    stage, _, file = SOURCES[source].partition("/")
    shutil.copytree(finished[stage], tmp_path / stage)
    changed = tmp_path / stage / file
    changed.write_text(changed.read_text().replace("1", "2", 1))
    with pytest.raises(
        ValueError, match=re.escape(f"{changed}: not the file that the model card cites")
    ):
        check_card(card, finished | {stage: tmp_path / stage})


def test_a_text_without_digests_is_no_card(finished: dict[str, Path]) -> None:
    with pytest.raises(
        ValueError, match=r"validate/report\.json: not the file that the model card cites"
    ):
        check_card("# Model card", finished)


def test_a_number_that_was_changed_by_hand_is_found(card: str, finished: dict[str, Path]) -> None:
    kpi = json.loads((finished["evaluate"] / "kpi.json").read_text())
    said = f"[{kpi['metrics']['image_px/all']:.2f}][kpi]"
    assert said in card
    assert unfounded(card.replace(said, "[12345.67][kpi]"), finished) == ["12345.67 of kpi"]


def test_the_stored_card_is_what_the_evidence_makes(
    card: str, finished: dict[str, Path], params: Params
) -> None:
    evidence = read_evidence(finished)
    assert card == write_card(evidence, refusals(evidence, params.register_.required_targets))
    assert "- `eyes are too bad`" in write_card(evidence, ["eyes are too bad"])


def test_the_card_has_the_spread_between_groups_of_subjects(finished: dict[str, Path]) -> None:
    evidence = read_evidence(finished)
    assert "Spread between groups of subjects: n/a" in write_card(evidence, [])
    spreads = (
        GroupSpread("sex", 2, "female", "male", 1.254, (0.981, 1.502), None),
        GroupSpread("skin", 1, None, None, None, None, "1 of 3 groups with enough faces"),
    )
    card = write_card(replace(evidence, kpi=replace(evidence.kpi, spreads=spreads)), [])
    cells = "[1.25][kpi] ([0.98][kpi] to [1.50][kpi])"
    assert f"| sex | [2][kpi] | `female` | `male` | {cells} |" in card
    assert "| skin | [1][kpi] |  |  | n/a: `1` of `3` groups with enough faces |" in card


def test_the_card_says_over_how_many_faces_the_distance_of_the_eyes_was_used(
    card: str, finished: dict[str, Path]
) -> None:
    faces = read_evidence(finished).kpi.metric_faces["nme_interocular/all"]
    assert re.search(rf"%\]\[kpi\] over \[{faces}\]\[kpi\] faces by the inter-ocular", card)
    assert "divided by the square root of the face box's area." in card
