"""A rollback while a release is promoted, and to a version of which something is missing."""

from pathlib import Path
from typing import Any

import pytest

from fpenet.cli.main import main
from fpenet.provenance.digest import digest_bytes
from fpenet.provenance.signing import read_trusted
from fpenet.release.promotion import promotion, rollback
from fpenet.release.promotion.promotion import decide_request
from fpenet.release.promotion.rollback import roll_back
from fpenet.release.store.artifacts import publish
from fpenet.release.store.interface import Superseded
from fpenet.release.store.open_store import release_store
from fpenet.release.store.pointer import read_history
from tests.promoting import Promoting


def answers_of(gate: Promoting) -> list[tuple[str, str | None]]:
    trusted = read_trusted(gate.params.trust.public_keys)
    history = read_history(release_store(gate.params), trusted)
    assert history.problems == ()
    return [(one.action, one.version) for one in history.entries]


def test_f47_a_promotion_under_way_is_superseded(
    gate_of_three: Promoting, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = gate_of_three
    gate.request("3")
    real = publish

    def meanwhile(*given: Any) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(promotion, "publish", real)
            roll_back(gate.params, None, "maria", "eyes drift")
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(promotion, "publish", meanwhile)
        answer = decide_request(gate.params)
    assert answer is not None
    assert (answer.outcome, answer.sequence) == ("superseded", None)
    assert (gate.alias, gate.pointer.version) == ("1", "1")
    assert answers_of(gate) == [("rolled_back", "1"), ("promoted", "2"), ("promoted", "1")]
    assert decide_request(gate.params) is None


def test_f47_a_promotion_that_came_first_stays(
    gate_of_three: Promoting, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = gate_of_three
    real = publish

    def meanwhile(*given: Any) -> str:
        gate.request("3")
        answer = decide_request(gate.params)
        assert answer is not None
        assert answer.outcome == "promoted"
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(rollback, "publish", meanwhile)
        with pytest.raises(
            Superseded, match=r"moved to deployable_v3\.3 \(sequence 3\) in between"
        ):
            roll_back(gate.params, None, "maria", "eyes drift")
    assert (gate.alias, gate.pointer.version) == ("3", "3")
    assert answers_of(gate) == [("promoted", "3"), ("promoted", "2"), ("promoted", "1")]


def test_f47_what_is_missing_is_named_and_nothing_moves(
    gate_of_three: Promoting, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = gate_of_three
    from mlflow import MlflowClient

    stored = tmp_path / "releases/files" / digest_bytes(b"engine")
    run = Path(gate.page("1").source).parent
    engine = run / "deployable/cpu/fp32.onnx"

    def rollback_error() -> str:
        assert main(["rollback", *gate.options]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert (gate.alias, gate.pointer.sequence) == ("2", 2)
        return error

    engine.rename(tmp_path / "away")
    assert rollback_error().startswith(
        "fpenet rollback: deployable_v3.1 (version 1) is refused:"
        " deployable/cpu/fp32.onnx is missing"
    )
    engine.write_bytes(b"another")
    assert "deployable/cpu/fp32.onnx is not the released file" in rollback_error()
    (tmp_path / "away").replace(engine)
    good = stored.read_bytes()
    stored.write_bytes(b"another")
    assert f"{stored}: the store already has other content; remove it" in rollback_error()
    stored.unlink()  # what only the store lacks is put there again
    MlflowClient().delete_model_version(gate.model, "3")
    assert roll_back(gate.params, "1", "maria", "eyes drift").version == "1"
    assert stored.read_bytes() == good
    MlflowClient().delete_model_version(gate.model, "2")
    with pytest.raises(ValueError, match=r"deployable_v3\.2 \(version 2\) was deleted in MLflow"):
        roll_back(gate.params, "2", "maria", "")
