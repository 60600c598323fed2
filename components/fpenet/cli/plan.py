"""``fpenet plan``: the stages that would run, and the reason for each, e.g. a changed digest."""

from pathlib import Path
from typing import TYPE_CHECKING

from fpenet.cli.command import CommandResult, ParamsOptions
from fpenet.cli.services import downloaded_weights
from fpenet.stages import STAGES

if TYPE_CHECKING:
    from fpenet.params import Params
    from fpenet.provenance.manifest import Manifest

RELEASES = Path("work")
"""The parent folder of the stage folders of releases."""
_RUN_BY = {"dvc": "(dvc repro, fpenet STAGE)", "work": "(make release)"}


def plan(options: ParamsOptions) -> CommandResult:
    """Show the stages that would run, and the reason for each.

    The stage folders of ``dvc repro`` and of the commands are below ``--root``; those of releases
    are below ``work/``. Without ``--root``, both are shown if releases have run here.
    """
    from fpenet.data.sources.s3_labels import local_labels

    def local(root: Path) -> "Params":
        params = local_labels(options.load(), root / "labels")
        return downloaded_weights(params, root / "weights")

    both = options.root == ParamsOptions().root and RELEASES.is_dir()
    reasons: dict[str, dict[str, str]] = {}
    if options.root.is_dir() or not both:
        reasons[f"{options.root}"] = reasons_to_run(options.root, local(options.root))
    if both:
        reasons[f"{RELEASES}"] = reasons_to_release(RELEASES, local(RELEASES))
    lines = []
    for root, of_stages in reasons.items():
        if both:
            lines.append(f"{root}/  {_RUN_BY[root]}")
        for name, reason in of_stages.items():
            lines.append(f"{name:<10} {'run: ' + reason if reason else 'done'}")
    if both and not options.root.is_dir():
        lines.append(f"{options.root}/  {_RUN_BY[f'{options.root}']}: no stage ran yet")
    rows = [
        {"root": root, "stage": name, "run": bool(reason), "reason": reason}
        for root, of_stages in reasons.items()
        for name, reason in of_stages.items()
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


def reasons_to_release(work: Path, params: "Params") -> dict[str, str]:
    """Stage -> the reason why a release would run it; empty if its result is below ``work``.

    A result that is not there is compared with the latest result of its stage.
    """
    from fpenet.deploy.engines.merge_builds import merged_folder
    from fpenet.device_engines import built_engines
    from fpenet.execution import stage_key
    from fpenet.provenance.manifest import MANIFEST

    reasons: dict[str, str] = {}
    folders: dict[str, Path] = {}
    for stage in STAGES.values():
        if not stage.sealed:
            continue
        stale_inputs = [name for name in stage.inputs if reasons.get(name)]
        if stale_inputs:
            reasons[stage.name] = f"after {', '.join(stale_inputs)}"
            continue
        pending = stage_key(stage, folders, params)
        folder = work / stage.name / pending.key[:16]
        if (folder / MANIFEST).exists():
            reasons[stage.name] = ""
            if stage.name == "build":
                engines = built_engines(work, folders, params)
                folder = merged_folder(folder, engines, work / "build")
                if not (folder / MANIFEST).exists():
                    reasons[stage.name] = f"new engines of {', '.join(engines)}"
            folders[stage.name] = folder
        else:
            latest = _latest(work / stage.name, stage.name)
            reasons[stage.name] = changes(latest, pending) if latest else "no result yet"
    return reasons


def _latest(folder: Path, stage: str) -> "Manifest | None":
    """The latest manifest of a stage below ``work/``, without builds that were merged."""
    from fpenet.provenance.manifest import MANIFEST, read_manifest

    paths = sorted(
        folder.glob(f"[!.]*/{MANIFEST}"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    manifests = (read_manifest(path.parent) for path in paths)
    return next((manifest for manifest in manifests if stage not in manifest.inputs), None)


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
