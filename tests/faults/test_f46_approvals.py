"""Approvals that do not count: one's own, over, for other bytes, of a stranger, edited."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from fpenet.cli.main import main
from fpenet.params import Params
from fpenet.provenance.digest import digest_bytes
from fpenet.provenance.signing import make_key
from fpenet.release.promotion.approvals import count_approvals, sign_approval
from fpenet.release.promotion.promotion import decide_request
from fpenet.release.release_manifest import Release, read_release
from fpenet.release.store.open_store import release_store
from tests.promoting import Promoting

NOW = datetime.now(timezone.utc)
HOUR = timedelta(hours=1)


@pytest.fixture
def gate(
    register: Callable[..., dict[str, Any]],
    stage_folders: Callable[..., dict[str, Path]],
    promoting: Callable[..., Promoting],
    tmp_path: Path,
) -> Promoting:
    """One approval is wanted; ann, bob and whoever released may give it. Two versions are there."""
    register(stage_folders("first"))
    register(stage_folders("trained again", kpi_all=4.0))
    for name in ("ann", "bob"):
        make_key(tmp_path / f"people/{name}.pem")
    (tmp_path / "people/releaser.pub").symlink_to(tmp_path / ".keys/development.pub")
    people = (tmp_path / "people").as_posix()
    return promoting({"promote.approvals": 1, "promote.approvers": [people]})


def release_of(gate: Promoting, version: str) -> Release:
    return read_release(Path(gate.page(version).source).parent, gate.trusted)


def key_of(tmp_path: Path, name: str) -> Any:
    from fpenet.provenance.signing import read_signing_key

    return read_signing_key(tmp_path / f"people/{name}.pem")


def test_f46_an_approved_release_is_promoted_and_one_trained_again_is_not(
    gate: Promoting, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate.request("1")
    answer = decide_request(gate.params)
    assert answer is not None
    missing = "approvals: 0 of 1; fpenet approve 1 --reason '...' --key NAME.pem"
    assert (answer.reasons, gate.alias) == ((missing,), None)
    key = (tmp_path / "people/ann.pem").as_posix()
    words = ["approve", "deployable_v3.1", "--reason", "eyes are better", "--key", key]
    assert main([*words, *gate.options]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        f"deployable_v3.1 (release {release_of(gate, '1').digest[:12]}) is appro"
    )
    assert "approved by the ann key" in said
    assert said.endswith(": eyes are better\n")
    gate.request("1")
    answer = decide_request(gate.params)
    assert answer is not None
    assert (answer.outcome, gate.alias) == ("promoted", "1")
    entry = gate.pointer.entry
    assert entry is not None
    assert entry.approvals == (str(key_of(tmp_path, "ann").public),)
    assert entry.why == "requested by the alias deployable in MLflow; ann: eyes are better"
    assert entry.who == "unknown"
    gate.request("2")  # trained again: what was approved is another release
    answer = decide_request(gate.params)
    assert answer is not None
    assert answer.reasons[0].startswith("approvals: 0 of 1")
    assert gate.alias == "1"


def test_f46_who_released_it_cannot_approve(
    gate: Promoting, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = (tmp_path / ".keys/development.pem").as_posix()
    assert main(["approve", "1", "--reason", "mine", "--key", key, *gate.options]) == 2
    assert "signed deployable_v3.1; another person must approve" in capsys.readouterr().err
    # and where another hand wrote it into the store
    release, store = release_of(gate, "1"), release_store(gate.params)
    said = {
        "kind": "approval",
        "release_digest": release.digest,
        "reason": "mine",
        "until": (NOW + HOUR).isoformat(),
    }
    write(gate, release, said, tmp_path / ".keys/development.pem")
    counted, reasons = count_approvals(store, release, gate.params.promote, NOW)
    assert counted == []
    assert reasons[1].endswith("signed the release; its approval does not count")


def write(gate: Promoting, release: Release, said: dict[str, Any], key: Path) -> None:
    """Put what a key signs among the approvals of a release."""
    from fpenet.provenance.digest import canonical_json
    from fpenet.provenance.signing import read_signing_key, sign

    content = {
        "kind": "approval",
        "model": release.model,
        "version": release.version,
        "name": release.name,
        "when": NOW.isoformat(),
        **said,
    }
    signature = str(sign(canonical_json(content), read_signing_key(key)))
    data = json.dumps({"approval": content, "signature": signature, "format": 2}).encode()
    release_store(gate.params).keep(f"approvals/{release.digest}/{digest_bytes(data)}.json", data)


def test_f46_what_is_over_or_lasts_too_long_does_not_count(gate: Promoting, tmp_path: Path) -> None:
    release, store = release_of(gate, "1"), release_store(gate.params)
    promote, ann = gate.params.promote, key_of(tmp_path, "ann")
    approval = sign_approval(store, release, "fine", ann, promote, NOW)
    assert approval.until == NOW + 72 * HOUR

    def reasons_at(now: datetime) -> list[str]:
        return count_approvals(store, release, promote, now)[1]

    assert reasons_at(NOW) == reasons_at(NOW + 71.9 * HOUR) == reasons_at(NOW - 0.08 * HOUR) == []
    for now, said in (
        (NOW + 72 * HOUR, "expired at"),
        (NOW + 8760 * HOUR, "expired at"),  # a clock forward a year
        (NOW - HOUR, "more than 72 h after"),  # a clock back an hour, or an approval made ahead
    ):
        (count, ignored) = reasons_at(now)
        assert count.startswith("approvals: 0 of 1; ")
        assert said in ignored


def test_f46_an_approval_of_other_bytes_of_a_stranger_or_edited_does_not_count(
    gate: Promoting, tmp_path: Path
) -> None:
    first, again = release_of(gate, "1"), release_of(gate, "2")
    store, promote, bob = release_store(gate.params), gate.params.promote, key_of(tmp_path, "bob")
    sign_approval(store, first, "fine", bob, promote, NOW)
    (name,) = store.names(f"approvals/{first.digest}/")
    found = store.read(name)
    assert found is not None
    store.keep(name.replace(first.digest, again.digest), found.data)
    store.keep(f"approvals/{again.digest}/1.json", found.data.replace(b"fine", b"good"))
    store.keep(f"approvals/{again.digest}/2.json", b"[]")
    stranger = make_key(tmp_path / "keys/stranger.pem")
    with pytest.raises(ValueError, match=r"stranger key .* is not one of promote\.approvers: ann"):
        sign_approval(store, again, "fine", stranger, promote, NOW)
    with pytest.raises(ValueError, match="--reason is empty"):
        sign_approval(store, again, " ", bob, promote, NOW)
    said = {"kind": "approval", "release_digest": again.digest, "reason": "", "until": "2999-01-01"}
    write(gate, again, said, tmp_path / "keys/stranger.pem")
    write(gate, again, said | {"kind": "release pointer"}, tmp_path / "people/bob.pem")
    counted, reasons = count_approvals(store, again, promote, NOW)
    assert counted == []
    assert len(reasons) == 6
    for words in (
        f"the approval by the {bob.public} is for release {first.digest[:12]}, not this one",
        f"is not what the {bob.public} signed",
        "format is missing",
        f"signed by key {stranger.public.id}, which is not trusted here",
        "approval, kind is 'release pointer'; must be one of ['approval']",
    ):
        assert any(words in reason for reason in reasons), words


def test_f46_two_approvals_are_of_two_people(
    gate: Promoting, tmp_path: Path, params_with: Callable[..., Params]
) -> None:
    two = params_with({**gate.keys, "promote.approvals": 2}).promote
    release, store = release_of(gate, "1"), release_store(gate.params)
    ann, bob = key_of(tmp_path, "ann"), key_of(tmp_path, "bob")
    for hour in (0, 1):  # one person twice is one person
        sign_approval(store, release, "fine", ann, two, NOW - hour * HOUR)
    counted, reasons = count_approvals(store, release, two, NOW)
    assert [one.by for one in counted] == [ann.public]
    assert reasons == [
        f"approvals: 1 of 2 (by {ann.public}); fpenet approve 1 --reason '...' --key NAME.pem"
    ]
    sign_approval(store, release, "mouth too", bob, two, NOW)
    counted, reasons = count_approvals(store, release, two, NOW)
    assert ({one.by for one in counted}, reasons) == ({ann.public, bob.public}, [])
    with pytest.raises(ValueError, match="approvals is 1 but approvers is empty"):
        params_with({"promote.approvals": 1})
