"""An encrypted release: gated as it is stored, opened with the key alone; the key told nowhere."""

import logging
import secrets
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fpenet.cli.main import main
from fpenet.params import Params
from fpenet.provenance.digest import files_of
from fpenet.provenance.encryption import ModelKey, is_encrypted, model_key_context
from fpenet.provenance.signing import read_trusted
from fpenet.release.fetch.clients import StoreClient, VersionQuery
from fpenet.release.fetch.get import get_release
from fpenet.release.promotion.promotion import decide_request
from fpenet.release.registry import versions
from fpenet.release.registry.local_models import local_model
from fpenet.release.store.folder import FileStore
from tests.promoting import Promoting

KEYS = Path(__file__).parents[3] / ".keys"
CANARY = f"canary{secrets.token_hex(20)}"
Register = Callable[..., dict[str, Any]]
Folders = Callable[..., dict[str, Path]]


@pytest.fixture
def key() -> Iterator[ModelKey]:
    """A key that can be found wherever it leaks to, held."""
    key = ModelKey(CANARY)
    with model_key_context(key):
        yield key


def run_of(release: dict[str, Any]) -> Path:
    from mlflow import MlflowClient

    uri = MlflowClient().get_run(release["run_id"]).info.artifact_uri
    return Path(uri.removeprefix("file://"))


def test_weights_and_bundles_are_stored_encrypted_and_nothing_else_is(
    register: Register, stage_folders: Folders, key: ModelKey
) -> None:
    folders = stage_folders(engine_bytes=b"an engine that is secret")
    release = register(folders, encrypt=True)
    assert register(folders, encrypt=True) == release  # tried again: the same bytes
    run = run_of(release)
    found = {path.relative_to(run).as_posix(): path for path in files_of(run)}
    hidden = {name for name, path in found.items() if is_encrypted(path)}
    assert hidden == {
        name for name in found if name.split("/")[0] in ("trainable", "deployable", "onnx")
    }
    secret = (b"an engine that is secret", b"batch norm", b"weights", b"fp32", b"int8")
    assert not [n for n in hidden for word in secret if word in found[n].read_bytes()]
    assert (
        release["encryption"]
        == f"chacha20-poly1305 {key.id(bytes.fromhex(release['release_digest'])[:16])}"
    )
    with pytest.raises(
        ValueError, match=r"contains this release with encryption 'chacha20.*not 'none'"
    ):
        register(folders)
    with (
        model_key_context(ModelKey("another key of 26 letters")),
        pytest.raises(ValueError, match="not 'cha"),
    ):
        register(folders, encrypt=True)
    with (
        model_key_context(None),
        pytest.raises(ValueError, match="and the model key is not set; set FPENET_MOD"),
    ):
        register(folders, encrypt=True)


def test_it_passes_the_gate_as_it_is_stored_and_opens_with_the_key_alone(
    register: Register,
    stage_folders: Folders,
    promoting: Callable[..., Promoting],
    key: ModelKey,
    tmp_path: Path,
) -> None:
    folders = stage_folders()
    release = register(folders, encrypt=True)
    gate = promoting()
    gate.request("1")
    with (
        model_key_context(ModelKey("another key of 26 letters")),
        pytest.raises(ValueError, match="it was encrypted with another model key"),
    ):
        decide_request(gate.params)  # a fault of ours is no refusal
    assert gate.alias == "1"
    with model_key_context(None):
        answer = decide_request(gate.params)
    assert answer is not None
    assert answer.outcome == "promoted"
    source = StoreClient(FileStore(tmp_path / "releases"))
    trusted = read_trusted([KEYS])
    wanted = VersionQuery(release["model"])

    def get(out: Path) -> None:
        get_release(source, wanted, "cpu", out, trusted)

    for held, said in (
        (None, "is encrypted and the model key is not set; set FPENET_MODEL_KEY"),
        (ModelKey("another key of 26 letters"), "it was encrypted with another model key"),
    ):
        with model_key_context(held), pytest.raises(ValueError, match=said):
            get(tmp_path / "device")
        assert not (tmp_path / "device").exists()
        with model_key_context(held), pytest.raises(ValueError, match=said):
            local_model(f"models:/{release['trainable_model']}/1", tmp_path / "weights")
        assert not list((tmp_path / "weights").glob("[!.]*"))
    get(tmp_path / "device")
    assert (tmp_path / "device/fp32.onnx").read_bytes() == b"engine"
    champion = local_model(f"models:/{release['model']}/1", tmp_path / "weights")
    assert (champion / "cpu/fp32.onnx").read_bytes() == b"engine"
    weights = local_model(f"models:/{release['trainable_model']}/1", tmp_path / "weights")
    assert (weights / "model.safetensors").read_bytes() == b"weights"


def test_the_key_is_in_no_log_no_parameter_no_card_and_no_crash(
    register: Register,
    stage_folders: Folders,
    params_with: Callable[..., Params],
    key: ModelKey,
    mlflow_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    register(stage_folders(), encrypt=True)
    crashes = []

    def crash(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"the disk is full, {ModelKey(CANARY)}")

    with monkeypatch.context() as patch:
        patch.setattr(versions, "set_alias", crash)
        try:
            register(stage_folders("other", kpi_all=4.0), encrypt=True)
        except RuntimeError as error:
            shown = traceback.TracebackException.from_exception(error, capture_locals=True)
            crashes.append("".join(shown.format()))
    monkeypatch.setenv("FPENET_MODEL_KEY", CANARY)
    words = ["get", "--target", "cpu", "--out", str(tmp_path / "device"), "--from", str(tmp_path)]
    assert main([*words, "--trusted", str(KEYS)]) == 2
    monkeypatch.setenv("FPENET_MODEL_KEY", CANARY[:12])
    assert main(words) == 2
    out, err = capfd.readouterr()
    assert "the disk is full" in crashes[0]
    assert "fewer than 16 characters" in err
    text = "".join([*crashes, caplog.text, out, err, repr(params_with({}))])
    assert CANARY[:12] not in text
    written = [*files_of(mlflow_store), *files_of(tmp_path)]
    assert len(written) > 50
    for told in (CANARY.encode(), CANARY.encode().hex().encode()):
        assert not [path for path in written if told in path.read_bytes()]
