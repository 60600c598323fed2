"""``fpenet plan``: the stages that would run, and the reason for each, e.g. a changed digest."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fpenet.cli.command import CommandResult, ParamsOptions
from fpenet.cli.environment import has_mlflow
from fpenet.stages import STAGES

if TYPE_CHECKING:
    from fpenet.params import Params
    from fpenet.provenance.manifest import Manifest


def plan(options: ParamsOptions) -> CommandResult:
    """Show the stages that would run, and the reason for each."""
    from fpenet.data.sources.s3_labels import local_labels
    from fpenet.release.registry.local_models import local_weights

    params = local_labels(options.load(), options.root / "labels")
    weights, registry = options.root / "weights", has_mlflow(os.environ)
    params = local_weights(params, weights, has_registry=registry)
    reasons = reasons_to_run(options.root, params)
    lines = [
        f"{name:<10} {'run: ' + reason if reason else 'done'}" for name, reason in reasons.items()
    ]
    rows = [
        {"stage": name, "run": bool(reason), "reason": reason} for name, reason in reasons.items()
    ]
    return CommandResult(rows, "\n".join(lines))


def reasons_to_run(root: Path, params: "Params") -> dict[str, str]:
    """Stage -> the reason why it would run; empty if its folder is up to date."""
    from fpenet.execution import stage_key
    from fpenet.provenance.manifest import MANIFEST, read_manifest

    reasons: dict[str, str] = {}
    for stage in STAGES.values():
        if not stage.sealed:
            continue
        folder = root / stage.name
        stale_inputs = [name for name in stage.inputs if reasons.get(name)]
        if stale_inputs:
            reason = f"after {', '.join(stale_inputs)}"
        elif not (folder / MANIFEST).exists():
            reason = "no result yet"
        else:
            inputs = {name: root / name for name in stage.inputs}
            reason = changes(read_manifest(folder), stage_key(stage, inputs, params))
        reasons[stage.name] = reason
    return reasons


def changes(old: "Manifest", new: "Manifest") -> str:
    """The differences between two manifests of one stage, as text; empty if the keys are equal."""
    if old.key == new.key:
        return ""
    parts = [
        f"input {name} changed"
        for name in sorted({*old.inputs, *new.inputs})
        if old.inputs.get(name) != new.inputs.get(name)
    ]
    for section in sorted({*old.params, *new.params}):
        before, after = old.params.get(section, {}), new.params.get(section, {})
        parts += [
            f"{section}.{key} was {before.get(key)!r}, is {after.get(key)!r}"
            for key in sorted({*before, *after})
            if before.get(key) != after.get(key)
        ]
    if old.code != new.code:
        parts.append("its code changed")
    parts += [
        f"{tool} was {old.tools.get(tool)}, is {new.tools.get(tool)}"
        for tool in sorted({*old.tools, *new.tools})
        if old.tools.get(tool) != new.tools.get(tool)
    ]
    return "; ".join(parts)
