"""The command of a stage: it runs one stage of STAGES on the folders below ``--root``."""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fpenet.cli.command import CommandResult, ParamsOptions, add_command
from fpenet.cli.environment import has_mlflow, rank_in
from fpenet.cli.services import downloaded_weights, require_mlflow
from fpenet.core.errors import InputError
from fpenet.stages import STAGES, Stage

if TYPE_CHECKING:
    from fpenet.params import Params

OutFolder = Annotated[
    Path | None, typer.Option("--out", metavar="FOLDER", help="Default: ROOT/STAGE.")
]
_LONGEST_LIST = 20
"""Longest list in the text output; JSON contains every entry."""


def add_stages(
    app: typer.Typer, chapter: str, special: Mapping[str, Callable[..., CommandResult]]
) -> None:
    """Add the commands of all stages of a chapter.

    Args:
        special: stage -> the function of a command with more options.
    """
    for stage in STAGES.values():
        if stage.chapter == chapter:
            function = special.get(stage.name) or _stage_function(stage.name)
            add_command(app, chapter, function, stage.name, stage.makes)


def _stage_function(name: str) -> Callable[..., CommandResult]:
    def run(options: ParamsOptions, out: OutFolder = None) -> CommandResult:
        return run_stage_command(name, options, out)

    return run


def run_stage_command(
    name: str,
    options: ParamsOptions,
    out: Path | None,
    overrides: Mapping[str, Any] | None = None,
) -> CommandResult:
    """Run one stage into ``out``, by default ROOT/STAGE; the result is its summary.

    Raises:
        InputError: params, labels or an input folder are wrong.
    """
    from fpenet.data.sources.s3_labels import local_labels, on_s3
    from fpenet.execution import run_stage

    params = options.load(overrides)
    stage = STAGES[name]
    out_dir = out or (options.root / name)
    if not stage.sealed and out is None:
        if on_s3(params.data.labels):
            raise InputError(f"data.labels is {params.data.labels}; --out FOLDER is required")
        out_dir = Path(params.data.labels)
    if stage.reads_labels:
        params = local_labels(params, options.root / "labels")
    if stage.reads_folders:
        params = downloaded_weights(params, options.root / "weights", [name])
    if name == "register":
        require_mlflow()
    inputs = {input_name: options.root / input_name for input_name in stage.inputs}
    with _live_metrics_of(stage, inputs, params):
        summary = run_stage(name, out_dir, inputs, params, rank_in(os.environ)).summary
    text = json.dumps(_short(summary), indent=1) if summary else ""  # of several, only rank 0's
    if name == "benchmark":
        text = f"{(out_dir / 'benchmark.md').read_text(encoding='utf-8')}\n{text}"
    if blocking := summary.get("blocking"):
        message = f"{'; '.join(blocking)}; the report is in {out_dir}"
        return CommandResult(summary, text, status=2, messages=[message])
    return CommandResult(summary, text)


def _live_metrics_of(
    stage: Stage, inputs: Mapping[str, Path], params: "Params"
) -> AbstractContextManager[None]:
    """Log a training to MLflow while it runs; only rank 0 logs."""
    if stage.name != "train" or not has_mlflow(os.environ) or rank_in(os.environ) > 0:
        return nullcontext()
    from fpenet.execution import stage_key
    from fpenet.release.registry.live_metrics import live_metrics

    return live_metrics(params.register_.experiment, stage_key(stage, inputs, params).key[:16])


def _short(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary without long lists, for a terminal."""
    return {
        key: f"{len(value)} entries"
        if isinstance(value, list) and len(value) > _LONGEST_LIST
        else value
        for key, value in summary.items()
    }
