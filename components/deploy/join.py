"""One build folder of several: the engines of each device's worker beside those built here.

Input: the build of this machine, where an absent device's target is ``pending``, and one finished
build for each target that its worker built. Output: a build folder in which those rows are theirs.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.deploy.build import statuses
from components.provenance.digest import digest_json
from components.provenance.manifest import MANIFEST, Manifest, seal, verify


def joined_rows(
    rows: list[dict[str, Any]], built: Mapping[str, list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """The rows of ``engines.json`` with those of each target in ``built`` in place of its own.

    >>> joined_rows([{"target": "cpu"}, {"target": "nano"}], {"nano": [{"target": "nano", "v": 1}]})
    [{'target': 'cpu'}, {'target': 'nano', 'v': 1}]
    """
    kept = [row for row in rows if row["target"] not in built]
    return kept + [row for target, own in built.items() for row in own if row["target"] == target]


def join_builds(build_dir: Path, target_dirs: Mapping[str, Path], work: Path) -> Path:
    """Join finished builds; returns the folder ``work/<key>``, made unless it is there already.

    Args:
        target_dirs: target -> the build folder of its own worker.

    Raises:
        ValueError: a folder does not have the bytes that were sealed.
    """
    base = verify(build_dir)
    parts = {target: verify(folder) for target, folder in sorted(target_dirs.items())}
    digests = {"build": base.content} | {target: part.content for target, part in parts.items()}
    key = digest_json(["join", digests])
    out_dir = work / key[:16]
    if (out_dir / MANIFEST).exists():
        verify(out_dir)
        return out_dir
    with tempfile.TemporaryDirectory(dir=work, prefix=".join.") as scratch:
        partial = Path(scratch) / "build"
        shutil.copytree(build_dir, partial, ignore=shutil.ignore_patterns(MANIFEST))
        built = {target: _read(target_dirs[target] / "engines.json") for target in parts}
        rows = joined_rows(_read(build_dir / "engines.json"), built)
        for target in parts:
            for row in built[target]:
                files = [row.get(key) for key in ("file", "kpi", "predictions")]
                for file in files if row["target"] == target else []:
                    if file:
                        (partial / file).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copy2(target_dirs[target] / file, partial / file)
        _write(partial / "engines.json", rows)
        parity = _read(build_dir / "parity.json")
        known = {rung["rung"] for rung in parity["rungs"]}
        for target in parts:
            own = _read(target_dirs[target] / "parity.json")["rungs"]
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
