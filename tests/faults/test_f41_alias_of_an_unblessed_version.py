"""The alias set by hand on a version that no gate has seen: it goes back, the chain tells it."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fpenet.kpi.gate import GATE
from fpenet.provenance.signing import make_key, read_signing_key, read_trusted, sign_file
from fpenet.release.promotion.promotion import decide_request
from fpenet.release.store.open_store import release_store
from fpenet.release.store.pointer import read_history
from tests.conftest import PASSED
from tests.promoting import Promoting

Register = Callable[..., dict[str, Any]]
Folders = Callable[..., dict[str, Path]]


@pytest.fixture
def gate(
    register: Register, stage_folders: Folders, promoting: Callable[..., Promoting]
) -> Promoting:
    """The gate of a model whose version 1 is deployable."""
    gate = promoting()
    register(stage_folders("blessed"))
    gate.request("1")
    answer = decide_request(gate.params)
    assert answer is not None
    assert answer.outcome == "promoted"
    return gate


def refused(gate: Promoting, version: str) -> tuple[str, ...]:
    """Ask for a version; the reasons why it is not deployable."""
    gate.request(version)
    answer = decide_request(gate.params)
    assert answer is not None
    assert (answer.outcome, gate.alias, gate.pointer.version) == ("refused", "1", "1")
    return answer.reasons


def test_f41_a_version_made_by_hand_goes_back(gate: Promoting, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient()
    client.create_model_version(gate.model, str(tmp_path))
    run = client.create_run("0").info.run_id
    client.create_model_version(gate.model, str(tmp_path), run_id=run)
    client.create_model_version(gate.model, str(tmp_path), run_id="0" * 32)
    for version in ("2", "3", "4"):
        (reason,) = refused(gate, version)
        assert reason == "it has no release.json: this pipeline did not register it"
        assert reason in gate.page(version).description
    trusted = read_trusted(gate.params.trust.public_keys)
    history = read_history(release_store(gate.params), trusted)
    assert [(entry.action, entry.requested, entry.version) for entry in history.entries] == [
        ("refused", "4", "1"),
        ("refused", "3", "1"),
        ("refused", "2", "1"),
        ("promoted", "1", "1"),
    ]
    assert history.problems == ()


def test_f41_a_good_release_lent_to_another_version_goes_back(gate: Promoting) -> None:
    from mlflow import MlflowClient

    good = gate.page("1")
    MlflowClient().create_model_version(
        gate.model, good.source, run_id=good.run_id, tags=dict(good.tags)
    )
    assert refused(gate, "2") == (f"its release.json is for {gate.model} version 1",)


def test_f41_a_refused_release_that_says_it_passed_goes_back(
    gate: Promoting, register: Register, stage_folders: Folders, tmp_path: Path
) -> None:
    register(stage_folders("bad", verdict={"passed": False, "reasons": ["7 px"]}))
    run = Path(gate.page("2").source).parent
    PASSED.write(run / "gate" / GATE)
    assert refused(gate, "2") == ("gate/gate.json: its digest is not that of stage gate",)
    stranger = make_key(tmp_path / "keys/stranger.pem")
    sign_file(run / "release.json", stranger)
    (reason,) = refused(gate, "2")
    assert reason.startswith(f"release.json: signed by key {stranger.public.id}, which is not")
    # whoever has the key of the pipeline can forge: the record alone does not pass either
    record = json.loads((run / "release.json").read_text())
    record["refused"], record["candidate"], record["gate"]["passed"] = [], True, True
    (run / "release.json").write_text(json.dumps(record))
    sign_file(run / "release.json", read_signing_key(gate.params.trust.signing_key))
    assert refused(gate, "2") == ("gate/gate.json: its digest is not that of stage gate",)
    assert dataclasses.asdict(gate.pointer)["entry"]["requested"] == "2"
