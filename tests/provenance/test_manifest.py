"""A sealed folder tells every change made to it since."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fpenet.provenance.manifest import MANIFEST, Manifest, read_manifest, seal, verify


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/points.bin").write_bytes(bytes(range(64)))
    (tmp_path / "empty").write_bytes(b"")
    seal(tmp_path, Manifest("train", "key", {}, {}, "code", {}, {}, {"loss": 0.5}))
    return tmp_path


def test_an_untouched_folder_verifies(folder: Path) -> None:
    manifest = verify(folder)
    assert set(manifest.files) == {"sub/points.bin", "empty"}
    assert (manifest.stage, manifest.summary) == ("train", {"loss": 0.5})
    assert manifest == read_manifest(folder)


def _flip(folder: Path) -> None:
    path = folder / "sub/points.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_flip, r"sub/points\.bin: SHA-256 is \w+\.\.\., sealed as"),
        (lambda folder: (folder / "empty").unlink(), "empty: missing; the manifest lists it"),
        (lambda folder: (folder / "new").touch(), "new: not in the manifest of this folder"),
        (lambda folder: (folder / MANIFEST).unlink(), "manifest.json: no such file"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "manifest.json: not a manifest"),
        (lambda folder: (folder / MANIFEST).write_text('{"a": 1}'), "manifest.json: not a mani"),
    ],
)
def test_what_was_changed_is_named(folder: Path, harm: Callable[[Path], None], said: str) -> None:
    harm(folder)
    with pytest.raises(ValueError, match=said):
        verify(folder)
