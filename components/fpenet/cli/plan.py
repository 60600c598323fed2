"""``fpenet plan``: which stages would run below a root, and which digest changed."""

from pathlib import Path

from fpenet.execution import stage_key
from fpenet.params import Params
from fpenet.provenance.manifest import MANIFEST, Manifest, read_manifest
from fpenet.stages import STAGES


def describe_plan(root: Path, params: Params) -> str:
    """One line a stage: done, or what makes it run."""
    lines: list[str] = []
    stale: set[str] = set()
    for stage in STAGES.values():
        if not stage.sealed:
            continue
        folder = root / stage.name
        waits = [name for name in stage.inputs if name in stale]
        if waits:
            reason = f"after {', '.join(waits)}"
        elif not (folder / MANIFEST).exists():
            reason = "never ran here"
        else:
            inputs = {name: root / name for name in stage.inputs}
            reason = changes(read_manifest(folder), stage_key(stage, inputs, params))
        if reason:
            stale.add(stage.name)
        lines.append(f"{stage.name:<10} {'run: ' + reason if reason else 'done'}")
    return "\n".join(lines)


def changes(old: Manifest, new: Manifest) -> str:
    """What differs between two manifests of one stage, in words; empty when their keys agree."""
    if old.key == new.key:
        return ""
    found = [
        f"input {name} changed"
        for name in sorted({*old.inputs, *new.inputs})
        if old.inputs.get(name) != new.inputs.get(name)
    ]
    for section in sorted({*old.params, *new.params}):
        before, after = old.params.get(section, {}), new.params.get(section, {})
        found += [
            f"{section}.{key} was {before.get(key)!r}, is {after.get(key)!r}"
            for key in sorted({*before, *after})
            if before.get(key) != after.get(key)
        ]
    if old.code != new.code:
        found.append("its code changed")
    found += [
        f"{tool} was {old.tools.get(tool)}, is {new.tools.get(tool)}"
        for tool in sorted({*old.tools, *new.tools})
        if old.tools.get(tool) != new.tools.get(tool)
    ]
    return "; ".join(found)
