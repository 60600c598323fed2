"""F32: of an engine, bundle or cache in which any byte changed, nothing parses the first one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

import fpenet
from fpenet.provenance.checksums import SUMS, verify_checksums, write_checksums
from fpenet.provenance.digest import files_of
from fpenet.provenance.manifest import MANIFEST, Manifest, seal, verify
from fpenet.provenance.signing import make_key


@pytest.fixture
def bundle(stages: SimpleNamespace, tmp_path: Path) -> Path:
    folder = tmp_path / "cpu"
    shutil.copytree(stages.bundle / "cpu", folder)
    return folder


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was parsed, of JSON and ONNX."""
    seen: list[str] = []
    real_loads, real_session = json.loads, onnxruntime.InferenceSession

    def loads(text: str | bytes) -> Any:
        seen.append("json")
        return real_loads(text)

    def session(*arguments: Any, **options: Any) -> Any:
        seen.append("onnx")
        return real_session(*arguments, **options)

    monkeypatch.setattr(json, "loads", loads)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    return seen


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]


def places(size: int) -> list[int]:
    """First, last and some others, the same each time."""
    return [0, size - 1, *np.random.default_rng(size).integers(0, size, 5).tolist()]


def test_f32_a_byte_flipped_anywhere_in_a_bundle_is_found_before_it_is_parsed(
    bundle: Path, parsed: list[str]
) -> None:
    for path in files_of(bundle):
        whole = path.read_bytes()
        for at in places(len(whole)):
            path.write_bytes(flipped(whole, at))
            with pytest.raises(ValueError, match=r"SHA256SUMS|not a signature|not trusted here"):
                fpenet.Landmarker(bundle)
        path.write_bytes(whole)
    assert parsed == []
    fpenet.Landmarker(bundle)
    assert parsed == ["json", "onnx"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data[: len(data) // 2], id="truncated"),
        pytest.param(lambda data: data + b"\0", id="longer"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: b"another engine", id="replaced"),
        pytest.param(None, id="missing"),
    ],
)
def test_f32_an_engine_that_is_another_is_named(
    bundle: Path, parsed: list[str], change: Callable[[bytes], bytes] | None
) -> None:
    path = bundle / "1" / "int8.onnx"
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=r"int8\.onnx: .*SHA256SUMS"):
        fpenet.Landmarker(bundle)
    assert parsed == []


def test_f32_an_engine_replaced_along_with_its_digest_is_found(
    bundle: Path, parsed: list[str], tmp_path: Path
) -> None:
    signed = (bundle / f"{SUMS}.sig").read_bytes()
    (bundle / "1" / "int8.onnx").write_bytes(b"another engine")
    write_checksums(bundle, make_key(tmp_path / "stranger.pem"))
    with pytest.raises(ValueError, match=r"SHA256SUMS: signed by key [0-9a-f]{16}, which is not"):
        fpenet.Landmarker(bundle)
    (bundle / f"{SUMS}.sig").write_bytes(signed)
    with pytest.raises(ValueError, match=r"SHA256SUMS: is not what the development key"):
        fpenet.Landmarker(bundle)
    (bundle / f"{SUMS}.sig").unlink()
    with pytest.raises(ValueError, match=r"SHA256SUMS: not signed.*trusted='anyone' opens it"):
        fpenet.Landmarker(bundle)
    assert parsed == []


def test_f32_every_file_of_every_target_is_under_the_signature(stages: SimpleNamespace) -> None:
    for folder in (path.parent for path in stages.bundle.glob(f"*/{SUMS}")):
        sums = verify_checksums(folder)
        assert sums.signed_by is not None
        assert sums.signed_by.name == "development"
        present = {path.relative_to(folder).as_posix() for path in files_of(folder)}
        assert present == set(sums.digests) | {SUMS, f"{SUMS}.sig"}


@pytest.mark.parametrize("stage", ["calibrate", "build"])
def test_f32_a_cache_or_engine_changed_between_stages_is_found(
    stages: SimpleNamespace, tmp_path: Path, stage: str
) -> None:
    folder = tmp_path / stage
    shutil.copytree(getattr(stages, stage), folder)
    seal(folder, Manifest(stage, stage, {}, {}, "code", {}, {}, {}))
    verify(folder)
    files = [path for path in files_of(folder) if path.name != MANIFEST]
    assert [path for path in files if path.suffix == ".cache"] or stage == "build"
    for path in files:
        whole = path.read_bytes()
        for at in places(len(whole))[:3]:
            path.write_bytes(flipped(whole, at))
            with pytest.raises(ValueError, match=path.name):
                verify(folder)
        path.write_bytes(whole)
