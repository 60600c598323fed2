"""Builds of several workers become one, with every engine's bytes in place of its pending row."""

from pathlib import Path

import pytest

from fpenet.deploy.engines.engine_table import ENGINES, Engine, EngineStatus, EngineTable
from fpenet.deploy.engines.merge_builds import merge_builds
from fpenet.deploy.judge.parity import PARITY, ParityCheck, ParityTable
from fpenet.provenance.manifest import MANIFEST, Manifest, seal, verify
from fpenet.provenance.signing import SigningKey, make_key, sign_file


def build_folder(folder: Path, rows: list[Engine], checks: list[str]) -> Path:
    """A sealed build folder; a row with a file gets one that holds its target's name."""
    folder.mkdir()
    for row in rows:
        if row.file:
            (folder / row.file).parent.mkdir()
            (folder / row.file).write_text(row.target)
    EngineTable(tuple(rows)).write(folder / ENGINES)
    parity = tuple(ParityCheck(name, "torch", 0.0, 0.0, 0.01, True, ()) for name in checks)
    ParityTable(parity).write(folder / PARITY)
    summary = {"status": {}, "partial": True, "parity_lost": None}
    seal(folder, Manifest("build", folder.name, {}, {}, "code", {}, {}, summary))
    return folder


@pytest.fixture
def worker(tmp_path: Path) -> SigningKey:
    """The key of the machine that built the engines."""
    return make_key(tmp_path / "keys" / "worker.pem")


def row(target: str, status: str, file: str | None = None) -> Engine:
    return Engine(target, "tensorrt", "fp16", EngineStatus(status), file=file)


def test_a_workers_engine_takes_the_place_of_the_pending_row(
    tmp_path: Path, worker: SigningKey
) -> None:
    here = build_folder(
        tmp_path / "here",
        [row("cpu", "ready", "cpu/fp16.onnx"), row("nano", "pending"), row("h200", "pending")],
        ["onnx"],
    )
    nano = build_folder(
        tmp_path / "nano", [row("nano", "ready", "nano/fp16.engine")], ["onnx", "int8"]
    )
    sign_file(nano / MANIFEST, worker)
    trusted = [worker.public]
    folder = merge_builds(here, {"nano/fp16": nano}, trusted, tmp_path)
    rows = {row.target: str(row.status) for row in EngineTable.read(folder / ENGINES).engines}
    assert rows == {"cpu": "ready", "nano": "ready", "h200": "pending"}
    assert (folder / "nano" / "fp16.engine").read_text() == "nano"
    assert (folder / "cpu" / "fp16.onnx").read_text() == "cpu"
    assert [check.name for check in ParityTable.read(folder / PARITY).checks] == ["onnx", "int8"]
    summary = verify(folder).summary
    assert summary["status"] == {"pending": 1, "ready": 2}
    assert summary["partial"] is True
    assert summary["joined"] == ["nano/fp16"]
    assert merge_builds(here, {"nano/fp16": nano}, trusted, tmp_path) == folder


def test_f32_an_engine_changed_on_its_way_is_refused(tmp_path: Path, worker: SigningKey) -> None:
    here = build_folder(tmp_path / "here", [row("nano", "pending")], [])
    nano = build_folder(tmp_path / "nano", [row("nano", "ready", "nano/fp16.engine")], [])
    sign_file(nano / MANIFEST, worker)
    (nano / "nano" / "fp16.engine").write_text("other")
    with pytest.raises(ValueError, match=r"fp16\.engine: SHA-256 is"):
        merge_builds(here, {"nano/fp16": nano}, [worker.public], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "keys", "nano"]


def test_f32_an_engine_replaced_with_its_seal_is_refused(
    tmp_path: Path, worker: SigningKey
) -> None:
    here = build_folder(tmp_path / "here", [row("nano", "pending")], [])
    nano = build_folder(tmp_path / "nano", [row("nano", "ready", "nano/fp16.engine")], [])
    with pytest.raises(ValueError, match=r"manifest\.json: not signed"):
        merge_builds(here, {"nano/fp16": nano}, [worker.public], tmp_path)
    sign_file(nano / MANIFEST, worker)
    (nano / "nano" / "fp16.engine").write_text("other")
    seal(nano, Manifest("build", "nano", {}, {}, "code", {}, {}, {}))
    with pytest.raises(ValueError, match=r"manifest\.json: is not what the worker key"):
        merge_builds(here, {"nano/fp16": nano}, [worker.public], tmp_path)
    sign_file(nano / MANIFEST, make_key(tmp_path / "keys" / "stranger.pem"))
    with pytest.raises(ValueError, match=r"manifest\.json: signed by key .*not trusted here"):
        merge_builds(here, {"nano/fp16": nano}, [worker.public], tmp_path)
