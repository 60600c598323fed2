"""``fpenet get``: checked, resumed and put in place at once, from MLflow, a folder and real S3."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpenet.cli import main as cli
from fpenet.provenance.digest import digest_file, files_of
from fpenet.provenance.signing import PublicKey, SigningKey, make_key, read_trusted
from fpenet.release.fetch.clients import RegistryClient, ReleaseClient, StoreClient, VersionQuery
from fpenet.release.fetch.get import ENTRY, get_release
from fpenet.release.store.folder import FileStore
from fpenet.release.store.interface import Store
from fpenet.release.store.open_store import open_store
from fpenet.release.store.pointer import ENTRY_TAG, LedgerEntry, entry_json, read_pointer
from tests.faulty_proxy import FaultyProxy, cut, proxied, refused, replaced
from tests.release_store import promote_release

ROOT = Path(__file__).parents[3]
KEYS = ROOT / ".keys"
ENGINE = np.random.default_rng(35).bytes(3_000_000)


@dataclass
class Released:
    """A release store and an MLflow server with the same promoted releases in them."""

    store: Store
    place: tuple[str, str | None]
    mlflow_url: str
    gate: SigningKey
    folder: Path
    register: Callable[..., dict[str, Any]]
    stage_folders: Callable[..., dict[str, Path]]
    said: list[dict[str, Any]] = field(default_factory=list)

    @property
    def trusted(self) -> tuple[PublicKey, ...]:
        return (self.gate.public, *read_trusted([self.folder / ".keys/development.pub", KEYS]))

    @property
    def model(self) -> str:
        return str(self.said[0]["model"])

    def add(self, **made: Any) -> dict[str, Any]:
        """Register one more release."""
        number = len(self.said) + 1
        folders = self.stage_folders(f"stages{number}", kpi_all=4.0 + number / 8, **made)
        self.said.append(self.register(folders))
        return self.said[-1]

    def promote(self, said: dict[str, Any]) -> LedgerEntry:
        (releaser,) = read_trusted([self.folder / ".keys/development.pub"])
        folder = self.folder / f"run{len(list(self.folder.iterdir()))}"
        return promote_release(self.store, self.gate, releaser, said, folder)

    def source(self, kind: str, url: str | None = None) -> ReleaseClient:
        if kind == "mlflow":
            return RegistryClient(url or self.mlflow_url, {})
        place, endpoint = self.place
        return StoreClient(open_store(place, url or endpoint))

    def get(self, kind: str, out: Path, url: str | None = None, **wanted: Any) -> Any:
        target = wanted.pop("target", "cpu")
        asked = VersionQuery(**{"model": self.model, **wanted})
        return get_release(self.source(kind, url), asked, target, out, self.trusted)


@pytest.fixture
def released(
    place: tuple[str, str | None],
    store: Store,
    mlflow_server: str,
    key: SigningKey,
    tmp_path: Path,
    register: Any,
    stage_folders: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Released:
    """One release, promoted; its engine has 3 MB."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    made = Released(store, place, mlflow_server, key, tmp_path, register, stage_folders)
    made.promote(made.add(engine_bytes=ENGINE))
    return made


in_a_folder = pytest.mark.parametrize("place", ["folder"], indirect=True)
on_s3 = pytest.mark.parametrize("place", ["s3"], indirect=True)


def holds(out: Path) -> bool:
    return (out / "fp32.onnx").read_bytes() == ENGINE


def test_a_promoted_release_is_brought_whole_and_once(released: Released, tmp_path: Path) -> None:
    for kind in ("mlflow", "store"):
        out = tmp_path / "device" / kind
        got = released.get(kind, out)
        assert (got.fresh, got.release.version, got.entry.sequence) == (True, "1", 1)
        assert holds(out)
        assert {path.name for path in files_of(out)} == {
            "SHA256SUMS",
            "SHA256SUMS.sig",
            "fp32.onnx",
            "golden.npz",
            "model.json",
            "ledger_entry.json",
            "release.json",
            "release.json.sig",
        }
        assert released.get(kind, out).fresh is False
        (out / "fp32.onnx").write_bytes(b"flipped")  # found and mended
        assert released.get(kind, out).fresh is True
        assert holds(out)
        assert [path.name for path in out.parent.iterdir() if "partial" in path.name] == []


@on_s3
def test_a_cut_download_goes_on_where_it_was(
    released: Released, tmp_path: Path, faulty_proxy: FaultyProxy
) -> None:
    engine = released.said[0]["files"]["deployable/cpu/fp32.onnx"]["sha256"]
    with proxied(released.mlflow_url) as mlflow_proxy:
        for kind, proxy, end in (
            ("mlflow", mlflow_proxy, "deployable/cpu/fp32.onnx"),
            ("store", faulty_proxy, f"files/{engine}"),
        ):
            out = tmp_path / "device" / kind
            proxy.faults = [(end, cut(1_200_000)), (end, cut(900_000))]
            released.get(kind, out, proxy.endpoint)
            assert holds(out)
            assert proxy.gets(end) == [None, "bytes=1200000-", "bytes=2100000-"]


@in_a_folder
def test_a_get_that_gave_up_is_taken_up_by_the_next(
    released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fpenet.release.fetch.download.FIRST_WAIT_SECONDS", 0.01)
    out, end = tmp_path / "device", "deployable/cpu/fp32.onnx"
    with proxied(released.mlflow_url) as proxy:
        proxy.faults = [(end, cut(100_000)), *[(end, refused(503, "SlowDown"))] * 4]
        with pytest.raises(ConnectionError, match="HTTP status 503"):
            released.get("mlflow", out, proxy.endpoint)
        assert not out.exists()
        released.get("mlflow", out, proxy.endpoint)
        assert holds(out)
        assert proxy.gets(end)[-1] == "bytes=100000-"
        assert proxy.gets("deployable/cpu/SHA256SUMS") == [None]


@in_a_folder
def test_other_bytes_than_the_record_lists_are_refused(released: Released, tmp_path: Path) -> None:
    out, end = tmp_path / "device", "deployable/cpu/fp32.onnx"
    changed = replaced(ENGINE[:8], b"exploits")
    with proxied(released.mlflow_url) as proxy:
        proxy.faults = [(end, changed)]
        released.get("mlflow", out, proxy.endpoint)  # once may be the network
        assert holds(out)
        proxy.faults = [(end, changed)] * 2
        with pytest.raises(
            ValueError, match=r"fp32\.onnx: two downloads had another digest than the"
        ):
            released.get("mlflow", tmp_path / "other", proxy.endpoint)
        assert not (tmp_path / "other").exists()
        proxy.faults = [("release.json", replaced(b'"candidate": true', b'"candidate":   0'))]
        with pytest.raises(ValueError, match=r"release\.json: is not what the development key"):
            released.get("mlflow", tmp_path / "other", proxy.endpoint)


@in_a_folder
def test_what_mlflow_alone_calls_deployable_is_refused(released: Released, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    client, out = MlflowClient(), tmp_path / "device"
    released.add()
    client.set_registered_model_alias(released.model, "deployable", "2")
    with pytest.raises(ValueError, match=r"version 2 .* but no ledger entry: it was not promoted"):
        released.get("mlflow", out)
    pointer = read_pointer(released.store, released.trusted)
    assert pointer.entry is not None
    client.set_model_version_tag(released.model, "2", ENTRY_TAG, entry_json(pointer.entry))
    with pytest.raises(ValueError, match=r"but its ledger entry is for .* version 1"):
        released.get("mlflow", out)
    stranger = make_key(tmp_path / "stranger.pem")
    (releaser,) = read_trusted([tmp_path / ".keys/development.pub"])
    other = promote_release(
        FileStore(tmp_path / "other"),
        stranger,
        releaser,
        released.said[1],
        tmp_path / "run-of-stranger",
    )
    assert other.version == "2"
    with pytest.raises(ValueError, match=r"is not valid: .* which is not trusted here"):
        released.get("mlflow", out)
    assert not out.exists()
    assert released.get("mlflow", out, alias="candidate").entry is None  # asked for by its name
    assert released.get("store", out).release.version == "1"


@in_a_folder
def test_a_source_that_was_put_back_is_refused(released: Released, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    out = tmp_path / "device"
    old = (tmp_path / "releases/pointer.json").read_bytes()
    released.promote(released.add())
    assert released.get("mlflow", out).release.version == "2"
    MlflowClient().set_registered_model_alias(released.model, "deployable", "1")
    (tmp_path / "releases/pointer.json").write_bytes(old)
    for kind in ("mlflow", "store"):
        with pytest.raises(ValueError, match=r"of the source has sequence 1, but .* sequence 2"):
            released.get(kind, out)
    assert json.loads((out / ENTRY).read_text())["version"] == "2"


@in_a_folder
def test_what_is_not_there_is_one_line(released: Released, tmp_path: Path) -> None:
    for kind, wanted, said in (
        ("mlflow", {"target": "t4"}, r"deployable_v3\.1 has no bundle for t4; its targets: cpu"),
        ("mlflow", {"alias": "nobody"}, "HTTP status 40[04]: .*alias nobody not found"),
        ("mlflow", {"version": "7"}, r"HTTP status 404: .*version=7\) not found"),
        ("store", {"alias": "candidate"}, "has the alias deployable only; download candidate from"),
        ("store", {"version": "7"}, "this release store has no version 7 of"),
        ("store", {"model": "faces"}, "this release store has no version deployable of faces"),
    ):
        with pytest.raises(ValueError, match=said) as error:
            released.get(kind, tmp_path / "device", **wanted)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "device").exists()


@in_a_folder
def test_a_folder_of_another_purpose_is_left_alone(released: Released, tmp_path: Path) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "thesis.tex").write_text("years")
    with pytest.raises(ValueError, match="not empty, and not written by `fpenet get`"):
        released.get("store", out)
    assert (out / "thesis.tex").read_text() == "years"


@in_a_folder
def test_the_command_asks_with_the_credentials_of_the_environment(
    released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    words = ["get", "--target", "cpu", "--model", released.model, "--out", str(tmp_path / "device")]
    words += [
        "--trusted",
        str(tmp_path / ".keys/development.pub"),
        str(tmp_path / "keys"),
        str(KEYS),
    ]
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "edge")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pass word")
    with proxied(released.mlflow_url) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.endpoint)
        assert cli.main(words) == 0
        assert set(proxy.authorizations) == {"Basic ZWRnZTpwYXNzIHdvcmQ="}
        proxy.faults = [("alias", refused(401, "Unauthorized"))]
        assert cli.main(words) == 2
    said = capsys.readouterr()
    assert said.out.startswith(f"deployable_v3.1: version 1 of {released.model}, for cpu, in ")
    assert "promoted 2026-11-25T12:00:00Z by unknown: requested in MLflow" in said.out
    assert "HTTP status 401; set MLFLOW_TRACKING_TOKEN, or" in said.err
    assert cli.main([*words, "--from", "ftp://host"]) == 2
    assert "must be http(s)://, s3:// or a folder" in capsys.readouterr().err


DEVICE = """
import socket, sys
import numpy as np

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"mlflow", "prefect", "torch", "boto3", "onnx", "dvc"}:
            raise ImportError("a device has no " + name)

sys.meta_path.insert(0, Absent())
from fpenet.cli import main as cli
assert cli.main(sys.argv[2:]) == 0

def no_network(*_):
    raise OSError("there is no network any more")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = no_network
import fpenet
landmarker = fpenet.Landmarker(sys.argv[1])
(face,) = landmarker.keypoints(np.full((100, 90), 128, np.uint8), (20.0, 20.0, 60.0, 60.0))
print(landmarker.num_keypoints, np.isfinite(face.keypoints).all())
"""


@in_a_folder
def test_a_device_with_the_light_install_gets_it_and_needs_no_network_afterwards(
    mlflow_server: str,
    finished: dict[str, Path],
    stage_folders: Any,
    register: Any,
    store: Store,
    key: SigningKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    said = register({**stage_folders(), "bundle": finished["bundle"]})
    (releaser,) = read_trusted([tmp_path / ".keys/development.pub"])
    promote_release(store, key, releaser, said, tmp_path / "run")
    words = ["get", "--alias", "deployable", "--target", "cpu", "--out", str(tmp_path / "device")]
    words += ["--model", said["model"], "--trusted", str(tmp_path / ".keys/development.pub")]
    words += [str(tmp_path / "keys"), str(KEYS), "--from", mlflow_server]
    command = [sys.executable, "-c", DEVICE, str(tmp_path / "device"), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(" True")
    sums = (tmp_path / "device/SHA256SUMS").read_text()
    engine = next(iter((tmp_path / "device/1").iterdir()))
    assert digest_file(engine) in sums
