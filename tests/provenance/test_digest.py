"""Digests see what changes a result and nothing else."""

import hashlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fpenet.core.python_source import SOURCE_ROOT
from fpenet.provenance import digest
from fpenet.provenance.digest import digest_dataset, digest_json


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package: ``stage`` imports ``near`` (inside a function), which imports ``far``."""
    folder = tmp_path / "fpenet"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "data/__init__.py").write_text("")
    (folder / "stage.py").write_text(
        "import json\n\ndef run():\n    from fpenet.data.near import NAME\n    return NAME\n"
    )
    (folder / "data/near.py").write_text("from fpenet.data import far\n\nNAME = far.NAME\n")
    (folder / "data/far.py").write_text("NAME = 1\n")
    (folder / "other.py").write_text("NAME = 2\n")
    monkeypatch.setattr(digest, "SOURCE_ROOT", tmp_path)
    yield folder
    digest.digest_code.cache_clear()


@pytest.mark.parametrize(
    ("file", "seen"),
    [("stage.py", True), ("data/near.py", True), ("data/far.py", True), ("other.py", False)],
)
def test_the_code_of_a_stage_is_what_it_imports(package: Path, file: str, seen: bool) -> None:
    before = digest_of_next_process("fpenet.stage")
    (package / file).write_text((package / file).read_text() + "# more\n")
    assert (digest_of_next_process("fpenet.stage") != before) == seen


def digest_of_next_process(module: str) -> str:
    """The digest of the code of a module without what this process has read of it."""
    digest.digest_code.cache_clear()
    digest._source.cache_clear()
    return digest.digest_code(module)


def test_a_data_set_changes_with_a_name_a_label_or_a_pixel(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(b"a")
    labels = tmp_path / "labels.json"
    labels.write_text("[]")
    found = [digest_dataset(tmp_path)]
    assert digest_dataset(labels) == found[0]
    labels.write_text("[ ]")
    found.append(digest_dataset(tmp_path))
    (tmp_path / "images/a.png").write_bytes(b"b")
    found.append(digest_dataset(tmp_path))
    (tmp_path / "images/a.png").rename(tmp_path / "images/c.png")
    found.append(digest_dataset(tmp_path))
    assert len(set(found)) == 4


def test_json_values_are_digested_whatever_their_order() -> None:
    assert digest_json({"b": 1, "a": [1.5, None]}) == digest_json({"a": [1.5, None], "b": 1})
    assert digest_json({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_json({"a": float("nan")})


def test_threads_may_read_the_imports_of_code_at_once() -> None:
    sources = sorted((SOURCE_ROOT / "fpenet/deploy").rglob("*.py"))
    alone = [digest.imported_files(path) for path in sources]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns within one parse
    try:
        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(digest.imported_files, sources * 2)) == alone * 2
    finally:
        sys.setswitchinterval(before)
