"""A champion that is missing, damaged or of other keypoints: no comparison, and no release."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from fpenet.deploy.judge.judge_release import judge_release
from fpenet.kpi.gate import GATE, ChampionState, GateDecision
from fpenet.kpi.predictions import load_predictions
from fpenet.kpi.report import KpiReport
from fpenet.params import Params
from fpenet.provenance.checksums import write_checksums
from fpenet.provenance.signing import SigningKey

Gate = Callable[..., GateDecision]


@pytest.fixture
def gate(stages: SimpleNamespace, params: Params, signing_key: SigningKey, tmp_path: Path) -> Gate:
    """Run stage gate beside a champion; what ``gate.json`` says."""

    def run(champion: Path | None, build_dir: Path = stages.build) -> GateDecision:
        out_dir = tmp_path / "gate"
        out_dir.mkdir()
        named = {"champion": None if champion is None else champion.as_posix()}
        judge_release(
            crop_dir=stages.crop,
            evaluate_dir=stages.evaluate,
            build_dir=build_dir,
            gate=params.gate.model_copy(update=named),
            evaluate=params.evaluate,
            trusted=[signing_key.public],
            out_dir=out_dir,
        )
        return GateDecision.read(out_dir / GATE)

    return run


def test_f22_a_first_release_is_said_to_be_one(gate: Gate) -> None:
    found = gate(None)
    assert found.passed
    assert found.champion.state is ChampionState.FIRST_RELEASE
    assert found.champion.why.startswith("no comparison: gate.champion is null")


def test_f22_a_missing_champion_refuses(gate: Gate, tmp_path: Path) -> None:
    found = gate(tmp_path / "nowhere")
    assert not found.passed
    assert found.champion.state is ChampionState.NOT_COMPARABLE
    assert found.comparisons == ()
    assert all(
        "not compared with the champion" in why and "nowhere: no bundle" in why
        for why in found.reasons
    )
    assert {row.engine_id for row in found.checks if row.name == "champion"} == {
        "cpu/fp32",
        "cpu/int8",
    }


@pytest.mark.parametrize("part", ["model.json", "1/fp32.onnx", "SHA256SUMS", "SHA256SUMS.sig"])
def test_f22_a_damaged_champion_refuses(
    gate: Gate, stages: SimpleNamespace, tmp_path: Path, part: str
) -> None:
    champion = tmp_path / "champion"
    shutil.copytree(stages.bundle / "cpu", champion)
    (champion / part).write_bytes((champion / part).read_bytes()[:-9])
    found = gate(champion)
    assert not found.passed
    assert found.champion.state is ChampionState.NOT_COMPARABLE
    assert str(champion) in found.reasons[0]


def test_f22_a_champion_of_an_older_format_is_named_with_both_versions(
    gate: Gate, stages: SimpleNamespace, signing_key: SigningKey, tmp_path: Path
) -> None:
    champion = tmp_path / "champion"
    shutil.copytree(stages.bundle / "cpu", champion)
    tree = json.loads((champion / "model.json").read_text())
    assert tree.pop("format") == 1
    (champion / "model.json").write_text(json.dumps(tree))
    write_checksums(champion, signing_key)
    found = gate(champion)
    assert not found.passed
    assert found.champion.state is ChampionState.NOT_COMPARABLE
    assert found.champion.why == (
        f"{champion}/model.json: format is missing (written before formats were numbered), this"
        " version of fpenet reads format 1 of BundleModel; make the file again with this version,"
        " or read it with the one that wrote it"
    )


def test_f22_predictions_of_other_faces_are_not_compared(
    gate: Gate, stages: SimpleNamespace, tmp_path: Path
) -> None:
    build = tmp_path / "build"
    shutil.copytree(stages.build, build)
    path = build / "cpu/fp32.predictions.npz"
    replace(load_predictions(path), faces="0" * 64).save(path)
    found = gate(stages.bundle / "cpu", build)
    assert not found.passed
    assert "cpu/fp32 was judged on other faces than those of crop" in found.reasons[0]


def test_f22_an_engine_judged_on_other_faces_is_refused_without_any_champion(
    gate: Gate, stages: SimpleNamespace, tmp_path: Path
) -> None:
    build = tmp_path / "build"
    shutil.copytree(stages.build, build)
    for precision in ("fp32", "int8"):
        path = build / f"cpu/{precision}.kpi.json"
        replace(KpiReport.read(path), faces="0" * 64).write(path)
    found = gate(None, build)
    assert not found.passed
    expected = "cpu/fp32: judged on different faces: 0000000000000000; must be of"
    assert expected in found.reasons[0]


def test_f22_a_champion_without_an_engine_that_runs_here_refuses(
    gate: Gate, stages: SimpleNamespace
) -> None:
    found = gate(stages.bundle / "xavier-nx")
    assert not found.passed
    assert "none of its engines runs here" in found.reasons[0]
