"""The commands of the chapter train: the stage train, the sweep, and the import from TAO."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from fpenet.cli.command import CommandResult, ParamsOptions, add_command, json_result
from fpenet.cli.environment import has_mlflow
from fpenet.cli.services import downloaded_weights
from fpenet.cli.stage import add_stages
from fpenet.core.errors import InputError

CHAPTER = "Train"


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this chapter."""
    add_stages(app, CHAPTER, {})
    add_command(app, CHAPTER, sweep)
    add_command(app, CHAPTER, import_tao, "import-tao")


def import_tao(
    options: ParamsOptions,
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="experiment_spec.yaml, or an ONNX file.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="PATH",
            help="For a spec: presets/NAME.yaml. For an ONNX file: a new folder, usable as"
            " train.start_from.",
        ),
    ],
) -> CommandResult:
    """Convert a TAO spec to a preset, or TAO's ONNX file to initial weights."""
    if source.suffix.lower() not in (".yaml", ".yml"):
        from fpenet.tao.onnx import import_onnx

        return json_result(import_onnx(source, out))
    from fpenet.tao.preset import import_spec

    table = import_spec(source, options.params, out)
    text = "\n".join([table, *_usage_of_preset(out, options.params)])
    return CommandResult({"preset": out.as_posix(), "table": table}, text)


def sweep(
    options: ParamsOptions,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="presets/NAME.yaml; default: ROOT/sweep/best.yaml."),
    ] = None,
) -> CommandResult:
    """Train with different values of sweep.space, and write the best ones as a preset."""
    from fpenet.core.yaml_tree import write_yaml
    from fpenet.execution import stage_key
    from fpenet.params import RangeParams
    from fpenet.provenance.digest import digest_json
    from fpenet.provenance.manifest import verify
    from fpenet.release.registry.live_metrics import TrialOf, live_metrics, log_sweep_result
    from fpenet.stages import STAGES

    params = options.load()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            "a sweep runs in one process; to run several, start each with the same sweep.storage"
        )
    for key, values in params.sweep.space.items():
        ends = (values.low, values.high) if isinstance(values, RangeParams) else values
        for value in ends:
            options.load({key: value})
    inputs = {"crop": options.root / "crop"}
    verify(inputs["crop"])
    local = downloaded_weights(params, options.root / "weights", ["train"])
    train_key = stage_key(STAGES["train"], inputs, local).key
    space = params.sweep.model_dump(mode="json", exclude={"trials", "storage"})
    study = digest_json([train_key, space])[:12]
    from fpenet.data.crops.store import open_crops
    from fpenet.model.sweep import run_sweep, settings_of

    def logged(trial: str, settings: Mapping[str, Any]) -> AbstractContextManager[None]:
        if not has_mlflow(os.environ):
            return nullcontext()
        return live_metrics(params.register_.experiment, trial, TrialOf(study, settings))

    folder = options.root / "sweep"
    store = open_crops(inputs["crop"])
    result = run_sweep(store, local.train, params.sweep, study, folder, logged)
    if has_mlflow(os.environ):
        log_sweep_result(params.register_.experiment, TrialOf(study, result.best), result.value)
    best = settings_of(params.train, result.best).model_dump(mode="json")
    out = out or folder / "best.yaml"
    title = f"Study {study}: {result.value:.3f} px of the 80x80 crop on held-out subjects of train"
    write_yaml({"train": best}, title, out)
    settings = ", ".join(f"{key} = {value}" for key, value in result.best.items())
    lines = [result.table, f"{out}: {settings}", *_usage_of_preset(out, options.params)]
    summary = {
        "study": study,
        "crop_px": result.value,
        "best": dict(result.best),
        "preset": out.as_posix(),
    }
    return CommandResult(summary, "\n".join(lines))


def _usage_of_preset(out: Path, params: Path) -> list[str]:
    """The line on how to use the preset; empty for a file outside the folder presets/."""
    if out.parent.resolve() != (params.parent / "presets").resolve():
        return []
    return [f"use this preset with --preset {out.stem}, or make release PRESET={out.stem}"]
