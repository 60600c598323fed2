"""``fpenet``: one thin command a stage, plan, fetch, remote, and those of cli_*.py.

Stages read and write the folders below ``--root`` (``dvc/`` by default, where dvc.yaml keeps them);
labels on S3 are fetched into ``labels`` there.
Exit status: 0 done; 1 a bug, a fault of the machine or the network, or a training that diverged;
2 bad input; 3 refused; 75 stopped by SIGTERM, the same command continues; 130 interrupted. Every
error is one line.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import yaml

from fpenet.cli.data import add_label_commands
from fpenet.cli.deploy import add_bundle_commands
from fpenet.cli.environment import has_mlflow, rank_in, thread_settings
from fpenet.cli.get import add_get_command
from fpenet.cli.history import add_history_commands
from fpenet.cli.judge import (
    add_compare_command,
    add_model_options,
    judge_model,
    judges_model,
)
from fpenet.cli.plan import describe_plan
from fpenet.cli.release import add_release_commands
from fpenet.cli.synth import add_synth_options, synth_overrides, wants_mesh, write_mesh
from fpenet.cli.train import add_training_commands
from fpenet.core.errors import BAD_INPUT, Diverged, InputError, Resumable
from fpenet.data.sources.s3_labels import local_labels, on_s3
from fpenet.execution import run_stage, stage_key
from fpenet.params import SIGNING_KEY_VARIABLE, Params, load_params
from fpenet.provenance.encryption import key_in, model_key_context
from fpenet.release.registry.live_metrics import live_metrics
from fpenet.release.registry.local_models import local_weights
from fpenet.stages import STAGES, Stage

DONE, FAILED, BAD_INPUT_STATUS, RESUMABLE, INTERRUPTED = 0, 1, 2, 75, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # ours is shown
    for name, value in thread_settings(os.environ).items():
        os.environ.setdefault(name, value)
    try:
        with _shown_progress(options.command), model_key_context(key_in(os.environ)):
            status: int | None = options.run(options)
    except Exception as error:
        status, line = _status_of(error, options.command)
        print(f"fpenet {options.command}: {line}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"fpenet {options.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    return status or DONE


def _status_of(error: Exception, command: str) -> tuple[int, str]:
    """Exit status and line of an error; of a bug or a fault of the machine, the log is named."""
    if isinstance(error, BAD_INPUT):
        return BAD_INPUT_STATUS, str(error)
    if isinstance(error, Resumable):
        return RESUMABLE, str(error)
    if isinstance(error, (Diverged, ConnectionError)):
        return FAILED, str(error)
    name = f"fpenet-{command}-"
    with tempfile.NamedTemporaryFile("w", prefix=name, suffix=".log", delete=False) as log:
        traceback.print_exception(error, file=log)
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return FAILED, f"{line}; the traceback is in {log.name}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fpenet", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--params", type=Path, default=Path("params.yaml"), help="params.yaml")
    shared.add_argument("--preset", help="a file of presets/, by name")
    shared.add_argument("--root", type=Path, default=Path("dvc"), help="where stage folders lie")
    shared.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="another value for one key, e.g. train.epochs=3",
    )
    for stage in STAGES.values():
        reads = ", ".join(stage.inputs) or "the labels" if stage.reads_labels else "params"
        command = commands.add_parser(
            stage.name, parents=[shared], help=f"reads {', '.join(stage.inputs) or reads}"
        )
        command.add_argument("--out", type=Path, help="default: ROOT/STAGE (synth: data.labels)")
        command.set_defaults(run=_run_stage)
        if stage.name == "synth":
            add_synth_options(command)
        if stage.name == "evaluate":
            add_model_options(command)
        if stage.name in ("build", "benchmark"):
            command.add_argument(
                "--target", action="append", metavar="NAME", help="one of build.targets; repeat"
            )
    plan = commands.add_parser("plan", parents=[shared], help="which stages would run, and why")
    plan.set_defaults(run=_run_plan)
    fetch = commands.add_parser(
        "fetch", parents=[shared], help="bring data.labels here from s3://bucket/prefix"
    )
    fetch.set_defaults(run=_run_fetch)
    remote = commands.add_parser(
        "remote", parents=[shared], help="make storage.bucket the remote of dvc push and dvc pull"
    )
    remote.set_defaults(run=_run_remote)
    add_bundle_commands(commands)
    add_label_commands(commands, shared, _params)
    add_compare_command(commands, shared, _params)
    add_training_commands(commands, shared, _params)
    add_release_commands(commands, shared, _params)
    add_history_commands(commands, shared, _params)
    add_get_command(commands)
    return parser


def _params(options: argparse.Namespace, more: Mapping[str, Any] | None = None) -> Params:
    overrides = parse_overrides(options.set) | dict(more or {})
    if key := os.environ.get(SIGNING_KEY_VARIABLE):
        overrides["trust.signing_key"] = key
    if getattr(options, "format", None):
        overrides["data.format"] = options.format
    overrides |= synth_overrides(options)
    if getattr(options, "target", None):
        overrides[f"{options.command}.targets"] = options.target
    return load_params(options.params, options.preset, overrides)


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """``["train.epochs=3"]`` as ``{"train.epochs": 3}``; the value is read as YAML."""
    overrides: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise InputError(f"--set {pair}: must be KEY=VALUE, e.g. train.epochs=3")
        overrides[key] = yaml.safe_load(value)
    return overrides


def _run_stage(options: argparse.Namespace) -> None:
    params = _params(options)
    stage = STAGES[options.command]
    if judges_model(options):
        judge_model(options, params)
        return
    if wants_mesh(options):
        write_mesh(options)
        return
    out_dir = options.out or (options.root / stage.name)
    if not stage.sealed and options.out is None:
        if on_s3(params.data.labels):
            raise InputError(f"data.labels is {params.data.labels}; say where to: --out FOLDER")
        out_dir = Path(params.data.labels)
    if stage.reads_labels:
        params = local_labels(params, options.root / "labels")
    if stage.reads_folders:
        params = local_weights(
            params, options.root / "weights", [stage.name], has_registry=has_mlflow(os.environ)
        )
    inputs = {name: options.root / name for name in stage.inputs}
    with _shown_live(stage, inputs, params):
        manifest = run_stage(stage.name, out_dir, inputs, params, rank_in(os.environ))
    if stage.name == "benchmark":
        print((out_dir / "benchmark.md").read_text(encoding="utf-8"))
    if manifest.summary:  # process 0 of several has one
        print(json.dumps(_short(manifest.summary), indent=1))
    if blocking := manifest.summary.get("blocking"):
        raise InputError(f"{'; '.join(blocking)}; the report is in {out_dir}")


def _shown_live(
    stage: Stage, inputs: Mapping[str, Path], params: Params
) -> AbstractContextManager[None]:
    """MLflow's live view of a training, in the process that writes."""
    if stage.name != "train" or not has_mlflow(os.environ) or rank_in(os.environ) > 0:
        return nullcontext()
    return live_metrics(params.register_.experiment, stage_key(stage, inputs, params).key[:16])


def _short(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary without long lists, for a terminal."""
    return {
        key: f"{len(value)} entries" if isinstance(value, list) and len(value) > 20 else value
        for key, value in summary.items()
    }


def _run_plan(options: argparse.Namespace) -> None:
    params = local_labels(_params(options), options.root / "labels")
    params = local_weights(params, options.root / "weights", has_registry=has_mlflow(os.environ))
    print(describe_plan(options.root, params))


def _run_fetch(options: argparse.Namespace) -> None:
    print(local_labels(_params(options), options.root / "labels").data.labels)


def _run_remote(options: argparse.Namespace) -> None:
    from fpenet.data.sources.dvc_remote import configure_remote

    print(configure_remote(_params(options).storage, options.params.parent))


@contextmanager
def _shown_progress(name: str) -> Iterator[None]:
    """Draw the progress records of a stage as one bar on the terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]} {task.fields[metrics]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )

    class Bar(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            metrics = " ".join(f"{k} {v:.4g}" for k, v in vars(record)["metrics"].items())
            unit = vars(record)["unit"]
            bar.update(
                task,
                completed=vars(record)["done"],
                total=vars(record)["total"],
                unit=unit,
                metrics=metrics,
                visible=True,
            )

    logger = logging.getLogger("fpenet.core.progress")
    with Progress(*columns, transient=False, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=None, unit="", metrics="", visible=False)
        handler = Bar()
        logger.addHandler(handler)
        level, propagate = logger.level, logger.propagate
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


if __name__ == "__main__":
    raise SystemExit(main())
