"""The alias is a request, the pointer the answer: what passes stays, all else goes back."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpenet.cli.main import main
from fpenet.deploy.judge.golden import GOLDEN, read_golden
from fpenet.provenance.checksums import write_checksums
from fpenet.provenance.digest import digest_bytes
from fpenet.provenance.manifest import MANIFEST, read_manifest, seal
from fpenet.provenance.signing import SigningKey, read_trusted
from fpenet.release.promotion import promotion
from fpenet.release.promotion.promotion import decide_request, pending_request
from fpenet.release.store.artifacts import publish
from fpenet.release.store.open_store import release_store
from fpenet.release.store.pointer import entry_json, read_history
from tests.promoting import Promoting
from tests.waiting import join

Register = Callable[..., dict[str, Any]]
Folders = Callable[..., dict[str, Path]]
Gate = Callable[..., Promoting]


def test_a_good_version_stays_and_its_files_lie_in_the_store(
    register: Register,
    stage_folders: Folders,
    promoting: Gate,
    place: tuple[str, str | None],
) -> None:
    release = register(stage_folders())
    gate = promoting({"promote.store": place[0], "storage.endpoint": place[1]})
    assert not pending_request(gate.params)
    assert decide_request(gate.params) is None
    gate.request("1")
    assert pending_request(gate.params)
    answer = decide_request(gate.params)
    assert answer is not None
    assert (answer.outcome, answer.requested, answer.deployable) == ("promoted", "1", "1")
    assert str(answer) == f"{release['model']} version 1 (deployable_v3.1) promoted"
    assert gate.alias == "1"
    entry = gate.pointer.entry
    assert entry is not None
    digest = entry.digests["release_manifest"]
    assert (entry.sequence, entry.who) == (1, "unknown")
    assert entry.digests == {**release["digests"], "release_manifest": digest}
    assert gate.page("1").tags["fpenet.ledger_entry"] == entry_json(entry)
    assert (entry.release_digest, entry.name) == (release["release_digest"], "deployable_v3.1")
    store = release_store(gate.params)
    found = store.read(f"files/{digest_bytes(b'engine')}")
    assert found is not None
    assert found.data == b"engine"
    published = store.read(f"releases/{digest}/release.json")
    assert published is not None
    assert json.loads(published.data)["version"] == "1"
    page = gate.page("1")
    assert page.tags["fpenet.promotion"].startswith("promoted at ")
    assert page.description.startswith("Made deployable (2")
    assert "\n\n# May be promoted\n" in page.description
    assert not pending_request(gate.params)
    assert decide_request(gate.params) is None
    assert gate.pointer.token == 1  # nothing to answer takes no token


def test_a_refused_version_goes_back_with_the_reasons_of_the_gate(
    register: Register, stage_folders: Folders, promoting: Gate
) -> None:
    gate = promoting()
    register(stage_folders("good"))
    reason = "image_px/all is 7; must be below 6"
    register(stage_folders("bad", verdict={"passed": False, "reasons": [reason]}))
    gate.request("2")
    for sequence in (1, 2):  # no alias before: it is removed again
        answer = decide_request(gate.params)
        assert answer is not None
        assert (answer.outcome, answer.reasons) == ("refused", (reason,))
        assert (gate.alias, gate.pointer.version, gate.pointer.sequence) == (None, None, sequence)
        gate.request("2")
    gate.request("1")
    assert decide_request(gate.params)
    gate.request("2")
    assert decide_request(gate.params)
    assert (gate.alias, gate.pointer.version) == ("1", "1")
    page = gate.page("2")
    assert "sequence 4: image_px/all is 7; must be below 6" in page.tags["fpenet.promotion"]
    said = page.description.split("\n")
    assert said[0].startswith("Promotion refused: image_px/all is 7; must be below 6 (2")
    assert said[1:3] == ["", "# Refused"]  # in place of the answer before
    history = read_history(release_store(gate.params), read_trusted(gate.params.trust.public_keys))
    assert [entry.action for entry in history.entries] == [
        "refused",
        "promoted",
        "refused",
        "refused",
    ]
    assert [entry.requested for entry in history.entries] == ["2", "1", "2", "2"]


def test_a_removed_alias_comes_back(
    register: Register, stage_folders: Folders, promoting: Gate
) -> None:
    from mlflow import MlflowClient

    gate = promoting()
    register(stage_folders())
    gate.request("1")
    assert decide_request(gate.params)
    MlflowClient().delete_registered_model_alias(gate.model, "deployable")
    answer = decide_request(gate.params)
    assert answer is not None
    assert (answer.outcome, answer.requested, gate.alias) == ("refused", None, "1")
    assert "the alias deployable was removed" in gate.page("1").tags["fpenet.promotion"]


def test_a_target_that_is_required_by_now_is_missed(
    register: Register, stage_folders: Folders, promoting: Gate
) -> None:
    register(stage_folders())
    gate = promoting({"register.required_targets": ["cpu", "h200"]})
    gate.request("1")
    answer = decide_request(gate.params)
    assert answer is not None
    assert answer.reasons == (
        "required target h200 is not ready: not built",
        "required target h200: its bundle contains no judged engine",
    )


def _of_the_run(gate: Promoting) -> Path:
    return Path(gate.page("1").source).parent


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (
            lambda run: (run / "deployable/cpu/fp32.onnx").write_bytes(b"another"),
            ("deployable/cpu/fp32.onnx is not the released file",),
        ),
        (
            lambda run: (run / "deployable/cpu/fp32.onnx").unlink(),
            ("deployable/cpu/fp32.onnx is missing",),
        ),
        (
            lambda run: (run / "trainable/more.bin").write_bytes(b""),
            ("trainable/more.bin is not in the release",),
        ),
        (
            lambda run: (run / "gate/gate.json").write_text('{"passed": true, "reasons": []}'),
            ("gate/gate.json: its digest is not that of stage gate",),
        ),
        (
            lambda run: (run / "model_card.md").write_text("# The best model"),
            ("model_card.md is not the released file",),
        ),
        (
            lambda run: (run / "release.json.sig").unlink(),
            ("release.json: not signed; release.json.sig is missing",),
        ),
        (
            lambda run: (run / "release.json").unlink(),
            ("it has no release.json: this pipeline did not register it",),
        ),
        (
            lambda run: shutil.rmtree(run / "manifests/gate"),
            ("manifests/gate/manifest.json: no such file; the folder is not a finished stage",),
        ),
    ],
)
def test_what_was_changed_since_it_was_signed_is_refused_by_name(
    register: Register,
    stage_folders: Folders,
    promoting: Gate,
    harm: Callable[[Path], object],
    said: tuple[str, ...],
) -> None:
    gate = promoting()
    register(stage_folders())
    harm(_of_the_run(gate))
    gate.request("1")
    answer = decide_request(gate.params)
    assert answer is not None
    assert (answer.outcome, answer.reasons, gate.alias) == ("refused", said, None)


def test_what_goes_wrong_on_the_way_is_no_refusal(
    register: Register,
    stage_folders: Folders,
    promoting: Gate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = promoting()
    register(stage_folders())
    gate.request("1")
    (tmp_path / ".keys/development.pem").rename(tmp_path / "away.pem")
    with pytest.raises(ValueError, match=r"development\.pem"):
        decide_request(gate.params)
    (tmp_path / "away.pem").rename(tmp_path / ".keys/development.pem")
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(ConnectionError, match=r"^MLflow at http://127\.0\.0\.1:9: "):
            decide_request(gate.params)
    assert (gate.alias, gate.pointer.token) == ("1", 0)
    (tmp_path / "releases").write_text("no folder")
    with pytest.raises(OSError, match="releases"):
        decide_request(gate.params)
    assert gate.alias == "1"
    (tmp_path / "releases").unlink()
    answer = decide_request(gate.params)
    assert answer is not None
    assert answer.outcome == "promoted"


def test_an_alias_that_moves_on_while_it_is_answered_is_another_request(
    register: Register,
    stage_folders: Folders,
    promoting: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = promoting()
    register(stage_folders("first"))
    register(stage_folders("second", kpi_all=4.0))
    gate.request("1")
    real = publish

    def and_somebody_else_clicks(*given: Any) -> None:
        real(*given)
        gate.request("2")

    with monkeypatch.context() as patch:
        patch.setattr(promotion, "publish", and_somebody_else_clicks)
        answer = decide_request(gate.params)
    assert answer is not None
    assert (answer.outcome, answer.sequence) == ("superseded", None)
    assert (gate.alias, gate.pointer.entry) == ("2", None)
    answer = decide_request(gate.params)
    assert answer is not None
    assert (answer.outcome, gate.pointer.version) == ("promoted", "2")


def test_promote_asks_and_says_what_was_answered(
    register: Register,
    stage_folders: Folders,
    promoting: Gate,
    capsys: pytest.CaptureFixture[str],
) -> None:
    release = register(stage_folders("good"))
    gate = promoting()
    register(stage_folders("bad", verdict={"passed": False, "reasons": ["too far off"]}))
    said = []
    for words in (["deployable_v3.1"], ["1"], ["2"], ["1"], ["3"]):
        with _watching(gate):
            status = main(["promote", *words, *gate.options])
        out, err = capsys.readouterr()
        said.append((status, f"{out}{err}".splitlines()[0]))
    model = release["model"]
    assert said == [
        (0, f"{model} version 1: is deployable (sequence 1)"),
        (0, f"{model} version 1: is deployable (sequence 1)"),
        (3, f"{model} version 2: refused, deployable_v3.1 stays deployable (sequence 2)"),
        (0, f"{model} version 1: is deployable (sequence 2)"),
        (2, f"fpenet promote: {model}: has no version 3; its page in MLflow lists them"),
    ]
    assert main(["promote", "2", "--wait", "0", *gate.options]) == 1
    assert "no decision within 0 s" in capsys.readouterr().err
    assert gate.alias == "2"


@contextmanager
def _watching(gate: Promoting) -> Iterator[None]:
    """A thread that decides requests all the time."""
    stop = threading.Event()

    def decide() -> None:
        while not stop.wait(0.05):
            decide_request(gate.params)

    thread = threading.Thread(target=decide)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        join(thread)


def test_an_engine_that_lost_its_golden_points_is_refused(
    register: Register,
    stage_folders: Folders,
    promoting: Gate,
    finished: dict[str, Path],
    signing_key: SigningKey,
    tmp_path: Path,
) -> None:
    """The bundle is real, and so are its engines; each is asked in a child process."""
    bundle = tmp_path / "bundle"
    shutil.copytree(finished["bundle"], bundle)
    (target,) = bundle.glob("cpu*")
    golden = read_golden((target / GOLDEN).read_bytes(), GOLDEN)
    gate = promoting({"register.required_targets": []})
    said = []
    for version, shift_px in (("1", 0.0), ("2", 3.0)):
        replace(golden, points=golden.points + np.float32(shift_px)).save(target / GOLDEN)
        write_checksums(target, signing_key)
        manifest = read_manifest(bundle)
        (bundle / MANIFEST).unlink()
        seal(bundle, manifest)
        register({**stage_folders(f"stages{version}"), "bundle": bundle}, required=())
        gate.request(version)
        said.append(decide_request(gate.params))
    good, bad = said
    assert good is not None
    assert bad is not None
    assert (good.outcome, bad.outcome, gate.alias) == ("promoted", "refused", "1")
    assert any(
        reason.startswith("cpu/fp32: its mean error on golden face") and " is 4.24 px" in reason
        for reason in bad.reasons
    )
