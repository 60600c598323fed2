"""Merges the builds of several machines into one build folder.

Input: the build of this machine, in which the engines of absent devices are ``pending``, and one
finished build for each engine that a device's worker built. Output: a build folder in which the
workers' rows replace the pending ones.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from fpenet.deploy.engines.engine_table import (
    ENGINES,
    EngineTable,
    count_statuses,
)
from fpenet.deploy.judge.parity import PARITY, ParityTable
from fpenet.provenance.digest import digest_json
from fpenet.provenance.manifest import MANIFEST, Manifest, read_manifest, seal, verify
from fpenet.provenance.signing import PublicKey


def merged_engines(table: EngineTable, built: Mapping[str, EngineTable]) -> EngineTable:
    """``table``, in which the rows of ``built`` replace the rows of the same engines.

    Args:
        built: ``target/precision`` -> the table of the build of that engine.

    >>> from fpenet.deploy.engines.engine_table import Engine, EngineStatus
    >>> pending = EngineTable((Engine("nano", "tensorrt", "fp16", EngineStatus.PENDING),))
    >>> ready = EngineTable((Engine("nano", "tensorrt", "fp16", EngineStatus.READY),))
    >>> merged_engines(pending, {"nano/fp16": ready}) == ready
    True
    """
    built_rows = {
        engine_id: row
        for engine_id, part in built.items()
        for row in part.engines
        if str(row.id) == engine_id
    }
    return EngineTable(tuple(built_rows.get(str(row.id), row) for row in table.engines))


def merged_folder(build_dir: Path, engine_dirs: Mapping[str, Path], work: Path) -> Path:
    """The folder that ``merge_builds`` makes of these builds; ``build_dir`` if there is no engine.

    Raises:
        InputError: a folder has no manifest.
    """
    if not engine_dirs:
        return build_dir
    parts = {engine_id: read_manifest(folder) for engine_id, folder in sorted(engine_dirs.items())}
    return work / digest_json(["join", _inputs_of(read_manifest(build_dir), parts)])[:16]


def _inputs_of(base: Manifest, parts: Mapping[str, Manifest]) -> dict[str, str]:
    return {"build": base.content} | {engine_id: part.content for engine_id, part in parts.items()}


def merge_builds(
    build_dir: Path, engine_dirs: Mapping[str, Path], trusted: Sequence[PublicKey], work: Path
) -> Path:
    """Merge finished builds; returns the folder ``work/<key>``, which is reused where it exists.

    Args:
        engine_dirs: ``target/precision`` -> the build folder that the device's worker signed.
        trusted: the public keys of the workers.

    Raises:
        InputError: a folder differs from its manifest, or has no signature of a trusted key.
    """
    base = verify(build_dir)
    parts = {
        engine_id: verify(folder, trusted) for engine_id, folder in sorted(engine_dirs.items())
    }
    digests = _inputs_of(base, parts)
    key = digest_json(["join", digests])
    out_dir = work / key[:16]
    if (out_dir / MANIFEST).exists():
        verify(out_dir)
        return out_dir
    with tempfile.TemporaryDirectory(dir=work, prefix=".join.") as scratch:
        partial = Path(scratch) / "build"
        shutil.copytree(build_dir, partial, ignore=shutil.ignore_patterns(MANIFEST))
        built = {
            engine_id: EngineTable.read(engine_dirs[engine_id] / ENGINES) for engine_id in parts
        }
        table = merged_engines(EngineTable.read(build_dir / ENGINES), built)
        for engine_id, folder in engine_dirs.items():
            for row in built[engine_id].engines:
                files = (row.file, row.kpi, row.predictions)
                for file in files if str(row.id) == engine_id else ():
                    if file:
                        (partial / file).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copy2(folder / file, partial / file)
        table.write(partial / ENGINES)
        checks = list(ParityTable.read(build_dir / PARITY).checks)
        for engine_id in parts:
            names = {check.name for check in checks}
            new_checks = ParityTable.read(engine_dirs[engine_id] / PARITY).checks
            checks += [check for check in new_checks if check.name not in names]
        ParityTable(tuple(checks)).write(partial / PARITY)
        summary = {"joined": sorted(parts), **base.summary, **count_statuses(table.engines)}
        seal(
            partial,
            Manifest("build", key, digests, base.params, base.code, base.tools, {}, summary),
        )
        partial.rename(out_dir)
    return out_dir
