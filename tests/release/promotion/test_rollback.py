"""Rollback: the version before, inspected anew, pointer and alias alike; and what history tells."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from fpenet.cli.main import main
from fpenet.provenance.signing import read_trusted
from fpenet.release.promotion.promotion import decide_request
from fpenet.release.promotion.rollback import choose, roll_back
from fpenet.release.store.open_store import release_store
from fpenet.release.store.pointer import History, LedgerAction, LedgerEntry, read_history
from tests.promoting import Promoting
from tests.release_store import ledger_entry


def history_of(gate: Promoting) -> History:
    return read_history(release_store(gate.params), read_trusted(gate.params.trust.public_keys))


def test_pointer_and_alias_go_back_together_and_the_chain_tells_it(
    gate_of_three: Promoting, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = gate_of_three
    monkeypatch.setenv("USER", "maria")
    assert main(["rollback", "--reason", "eyes drift", *gate.options]) == 0
    out = capsys.readouterr().out
    assert out == f"{gate.model} version 1 (deployable_v3.1) is deployable (sequence 3)\n"
    assert (gate.alias, gate.pointer.version, gate.pointer.sequence) == ("1", "1", 3)
    assert decide_request(gate.params) is None  # nothing is asked for
    assert json.loads(gate.page("1").tags["fpenet.ledger_entry"])["sequence"] == 3
    assert main(["history", *gate.options]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert [line[-1].strip() for line in lines[:2]] == [
        "deployable_v3.1 rolled back",
        "by maria: eyes drift",
    ]
    assert lines[2][-1] == "deployable_v3.2 promoted"
    assert main(["rollback", *gate.options]) == 2  # not forward to what was left
    assert "no version was deployable before version 1; use --to" in capsys.readouterr().err
    assert roll_back(gate.params, "deployable_v3.2", "maria", "mended").sequence == 4
    assert (gate.alias, gate.pointer.version) == ("2", "2")


def test_a_version_that_was_never_deployable_is_refused(gate_of_three: Promoting) -> None:
    gate = gate_of_three
    with pytest.raises(
        ValueError,
        match=r"version 3 was never deployable; those that were: 2 \(deployable_v3\.2\), 1 \(",
    ):
        roll_back(gate.params, "3", "maria", "")
    assert (gate.alias, gate.pointer.sequence) == ("2", 2)


def test_an_alias_that_fell_behind_is_brought_along(gate_of_three: Promoting) -> None:
    gate = gate_of_three
    gate.request("1")  # a rollback that was killed after its first step
    assert roll_back(gate.params, "1", "maria", "").sequence == 3
    gate.request("2")  # and one that found the pointer where it should be
    assert roll_back(gate.params, "1", "maria", "").sequence == 3
    assert (gate.alias, gate.pointer.version) == ("1", "1")


def chain(*answers: tuple[str, str]) -> History:
    """Links of (action, version now), the first one first."""
    entries: Sequence[LedgerEntry] = [
        ledger_entry(now, action=LedgerAction(action)) for action, now in answers
    ]
    return History(tuple(reversed(entries)), ())


@pytest.mark.parametrize(
    ("answers", "to", "version"),
    [
        ([("promoted", "1"), ("promoted", "2")], None, "1"),
        ([("promoted", "1"), ("promoted", "2"), ("refused", "2")], None, "1"),
        (
            [("promoted", "1"), ("promoted", "2"), ("promoted", "3"), ("rolled_back", "2")],
            None,
            "1",
        ),
        ([("promoted", "1"), ("promoted", "2"), ("promoted", "1")], None, "2"),
        ([("promoted", "1"), ("promoted", "2"), ("promoted", "3")], "1", "1"),
        ([("promoted", "1"), ("promoted", "2")], "deployable_v1.0", "1"),
    ],
)
def test_what_a_rollback_goes_to(
    answers: list[tuple[str, str]], to: str | None, version: str
) -> None:
    assert choose(chain(*answers), to).version == version


def test_history_tells_links_that_are_missing_and_a_pointer_that_mlflow_knows_better(
    gate_of_three: Promoting, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = gate_of_three
    store = tmp_path / "releases"
    kept = {path: path.read_bytes() for path in store.rglob("*.json")}
    first = store / "history/00000001.json"
    first.unlink()
    assert main(["history", *gate.options]) == 1
    assert "fpenet history: ledger entry 1 was removed" in capsys.readouterr().err
    first.write_bytes(kept[first].replace(b'"who": "unknown"', b'"who": "maria"'))
    assert main(["history", *gate.options]) == 1
    assert "fpenet history: ledger entry 1 was edited" in capsys.readouterr().err
    first.write_bytes(kept[first])
    assert main(["history", "--json", *gate.options]) == 0
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["sequence"] for each in entries] == [2, 1]
    gate.request("3")
    assert decide_request(gate.params) is not None
    for path in (store / "history").iterdir():
        path.unlink()  # all of the chain is put back to where it was
    for path, data in kept.items():
        path.write_bytes(data)
    assert main(["history", *gate.options]) == 1
    said = capsys.readouterr().err
    assert "the pointer is at sequence 2, but sequence 3 existed: the pointer was reset" in said
    shutil.rmtree(store)
    assert main(["history", *gate.options]) == 1
    assert "the pointer is at sequence 0, but sequence 3 existed" in capsys.readouterr().err
