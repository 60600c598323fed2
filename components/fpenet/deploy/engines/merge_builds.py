"""One build folder of several: the engines of each device's worker beside those built here.

Input: the build of this machine, where an absent device's engines are ``pending``, and one finished
build for each engine that a worker built. Output: a build folder in which those rows are theirs.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fpenet.deploy.engines.build import statuses
from fpenet.provenance.digest import digest_json
from fpenet.provenance.manifest import MANIFEST, Manifest, seal, verify
from fpenet.provenance.signing import PublicKey


def merged_rows(
    rows: list[dict[str, Any]], built: Mapping[str, list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """The rows of ``engines.json`` with that of each engine in ``built`` in place of its own.

    >>> one, other = ({"target": "nano", "precision": "fp16", "v": v} for v in (1, 2))
    >>> merged_rows([one], {"nano/fp16": [other]}) == [other]
    True
    """
    theirs = {
        engine: row for engine, own in built.items() for row in own if engine_of(row) == engine
    }
    return [theirs.get(engine_of(row), row) for row in rows]


def engine_of(row: Mapping[str, Any]) -> str:
    """What an engine is called: ``target/precision``."""
    return f"{row['target']}/{row['precision']}"


def merge_builds(
    build_dir: Path, engine_dirs: Mapping[str, Path], trusted: Sequence[PublicKey], work: Path
) -> Path:
    """Join finished builds; returns the folder ``work/<key>``, made unless it is there already.

    Args:
        engine_dirs: ``target/precision`` -> the build folder of its own worker, who signed it.
        trusted: the workers' keys.

    Raises:
        InputError: a folder does not have the bytes that were sealed, or nobody trusted signed it.
    """
    base = verify(build_dir)
    parts = {engine: verify(folder, trusted) for engine, folder in sorted(engine_dirs.items())}
    digests = {"build": base.content} | {engine: part.content for engine, part in parts.items()}
    key = digest_json(["join", digests])
    out_dir = work / key[:16]
    if (out_dir / MANIFEST).exists():
        verify(out_dir)
        return out_dir
    with tempfile.TemporaryDirectory(dir=work, prefix=".join.") as scratch:
        partial = Path(scratch) / "build"
        shutil.copytree(build_dir, partial, ignore=shutil.ignore_patterns(MANIFEST))
        built = {engine: _read(engine_dirs[engine] / "engines.json") for engine in parts}
        rows = merged_rows(_read(build_dir / "engines.json"), built)
        for engine, folder in engine_dirs.items():
            for row in built[engine]:
                files = [row.get(key) for key in ("file", "kpi", "predictions")]
                for file in files if engine_of(row) == engine else []:
                    if file:
                        (partial / file).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copy2(folder / file, partial / file)
        _write(partial / "engines.json", rows)
        parity = _read(build_dir / "parity.json")
        known = {rung["rung"] for rung in parity["rungs"]}
        for engine in parts:
            own = _read(engine_dirs[engine] / "parity.json")["rungs"]
            parity["rungs"] += [rung for rung in own if rung["rung"] not in known]
            known |= {rung["rung"] for rung in own}
        _write(partial / "parity.json", parity)
        now = statuses([row["status"] for row in rows])
        summary = {"joined": sorted(parts), **base.summary, **now}
        seal(
            partial,
            Manifest("build", key, digests, base.params, base.code, base.tools, {}, summary),
        )
        partial.rename(out_dir)
    return out_dir


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
