"""Stage gate: the champion's engines on the candidate's faces, by each path that is stated."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fpenet.data.crops.store import open_crops
from fpenet.deploy.judge.judge_release import judge_release
from fpenet.kpi.gate import GATE, ChampionState, GateDecision
from fpenet.kpi.predictions import load_predictions
from fpenet.kpi.report import KpiReport
from fpenet.params import Params
from fpenet.provenance.checksums import write_checksums
from fpenet.provenance.signing import SigningKey, read_signing_key
from tests.conftest import DEVELOPMENT_KEY
from tests.deploy.judge.test_judge_models import write_foreign

Gate = Callable[..., GateDecision]


@pytest.fixture
def gate(stages: SimpleNamespace, params: Params, signing_key: SigningKey, tmp_path: Path) -> Gate:
    """Run the stage beside a champion; what ``gate.json`` says."""

    def run(champion: Path, slices: tuple[str, ...] = ()) -> GateDecision:
        (tmp_path / "gate").mkdir()
        comparison = params.gate.comparison.model_copy(update={"slices": {"other": slices}})
        judge_release(
            crop_dir=stages.crop,
            evaluate_dir=stages.evaluate,
            build_dir=stages.build,
            gate=params.gate.model_copy(
                update={"champion": champion.as_posix(), "comparison": comparison}
            ),
            evaluate=params.evaluate,
            trusted=[signing_key.public],
            out_dir=tmp_path / "gate",
        )
        return GateDecision.read(tmp_path / "gate" / GATE)

    return run


def champion_of(
    stages: SimpleNamespace, folder: Path, points: np.ndarray, dataset: str = "rendered"
) -> Path:
    """The CPU's bundle with another network in it, which says ``points`` of every face."""
    shutil.copytree(stages.bundle / "cpu", folder / "cpu")
    model = json.loads((folder / "cpu/model.json").read_text())
    model |= {"num_keypoints": len(points), "dataset": dataset}
    (folder / "cpu/model.json").write_text(json.dumps(model))
    for precision in ("fp32", "int8"):
        path = folder / f"cpu/1/{precision}.onnx"
        names = ("input_face_images", "keypoints", "confidence")
        write_foreign(path, points, names=names)
    write_checksums(folder / "cpu", read_signing_key(DEVELOPMENT_KEY))
    return folder


def mean_shape(stages: SimpleNamespace) -> np.ndarray:
    store = open_crops(stages.crop)
    return np.asarray(store.points_crop(store.rows("train")).mean(axis=0))


def test_a_release_is_no_worse_than_itself(
    gate: Gate, stages: SimpleNamespace, tmp_path: Path
) -> None:
    found = gate(stages.bundle)
    assert found.passed, found.reasons
    champion = found.champion
    assert champion.state is ChampionState.COMPARED
    assert {name: own.engine_id for name, own in champion.engines.items()} == {
        "cpu/fp32": "cpu/fp32",
        "cpu/int8": "cpu/int8",
    }
    kept = champion.engines["cpu/int8"]
    own = KpiReport.read(stages.build / "cpu/int8.kpi.json")
    kpi = KpiReport.read(tmp_path / "gate" / kept.kpi)
    assert kpi.faces == own.faces
    assert kpi.metrics == pytest.approx(own.metrics, abs=1e-4)
    found_again = load_predictions(tmp_path / "gate" / kept.predictions)
    assert found_again.points.shape == (4, 68, 2)
    changes = [row.change for row in found.comparisons]
    assert all(change is not None and abs(change) < 1e-6 for change in changes)


def test_a_better_champion_refuses_each_engine_with_the_number(
    gate: Gate, stages: SimpleNamespace, tmp_path: Path
) -> None:
    found = gate(champion_of(stages, tmp_path / "v3", mean_shape(stages)))
    assert found.engines == {"cpu/fp32": False, "cpu/int8": False}
    assert "its upper end must be below +5.0% (champion/cpu.fp32.kpi.json)" in found.reasons[0]
    row = next(row for row in found.comparisons if row.slice is None)
    assert row.first is not None
    assert row.second is not None
    assert row.second > 1.2 * row.first
    assert row.change == pytest.approx(row.second / row.first - 1)


def test_a_champion_of_another_data_set_is_judged_again_on_these_faces(
    gate: Gate, stages: SimpleNamespace, tmp_path: Path
) -> None:
    worse = mean_shape(stages) + 60.0
    found = gate(champion_of(stages, tmp_path / "v3", worse, dataset="of last year"))
    assert found.passed, found.reasons
    assert found.champion.why == "judged again on these faces, engine by engine"
    assert found.champion.name == "v3"


def test_a_champion_of_another_scheme_is_compared_on_the_points_that_both_have(
    gate: Gate, stages: SimpleNamespace, tmp_path: Path
) -> None:
    worse = np.concatenate([mean_shape(stages) + 60.0, np.zeros((12, 2))])
    found = gate(champion_of(stages, tmp_path / "v3", worse))
    assert found.passed, found.reasons
    assert found.champion.state is ChampionState.COMPARED
    assert load_predictions(tmp_path / "gate/champion/cpu.fp32.predictions.npz").points.shape == (
        4,
        68,
        2,
    )


def test_a_champion_whose_points_are_numbered_otherwise_is_not_comparable(
    gate: Gate, stages: SimpleNamespace, tmp_path: Path
) -> None:
    found = gate(champion_of(stages, tmp_path / "v3", np.zeros((10, 2))))
    assert found.champion.state is ChampionState.NOT_COMPARABLE
    assert "it has 10 keypoints, the faces 68" in found.reasons[0]


def test_a_slice_that_must_hold_and_is_not_known_refuses(
    gate: Gate, stages: SimpleNamespace
) -> None:
    found = gate(stages.bundle, slices=("tattoo",))
    assert not found.passed
    assert (
        "tattoo=?: insufficient evidence: no slices: the data set has no such attribute"
        in "".join(found.reasons)
    )
