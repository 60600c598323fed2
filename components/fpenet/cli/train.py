"""``fpenet import-tao`` and ``fpenet sweep``: what to train with, from TAO or by trying."""

import argparse
import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from fpenet.cli.environment import has_mlflow
from fpenet.core.errors import InputError
from fpenet.core.yaml_tree import write_yaml
from fpenet.execution import stage_key
from fpenet.params import Params, RangeParams
from fpenet.provenance.digest import digest_json
from fpenet.provenance.manifest import verify
from fpenet.release.registry.live_metrics import TrialOf, live_metrics, log_sweep_result
from fpenet.release.registry.local_models import local_weights
from fpenet.stages import STAGES

Load = Callable[[argparse.Namespace, Mapping[str, Any]], Params]


def add_training_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    shared: argparse.ArgumentParser,
    load: Load,
) -> None:
    """Add the commands; ``load`` makes the params of their options and of further settings."""
    take = commands.add_parser(
        "import-tao", parents=[shared], help="TAO's FPENet: its experiment_spec.yaml, or its ONNX"
    )
    take.add_argument(
        "source", type=Path, metavar="FILE", help="experiment_spec.yaml or model.onnx"
    )
    take.add_argument(
        "--out",
        type=Path,
        required=True,
        help="of a spec: presets/NAME.yaml; of an ONNX: a new folder, for train.start_from",
    )
    take.set_defaults(run=_import_tao)
    sweep = commands.add_parser(
        "sweep",
        parents=[shared],
        help="try values of sweep.space on ROOT/crop; a preset of the best",
    )
    sweep.add_argument("--out", type=Path, help="presets/NAME.yaml; default: ROOT/sweep/best.yaml")
    sweep.set_defaults(run=lambda options: _sweep(options, load))


def _import_tao(options: argparse.Namespace) -> None:
    if options.source.suffix.lower() not in (".yaml", ".yml"):
        from fpenet.tao.onnx import import_onnx

        print(json.dumps(import_onnx(options.source, options.out), indent=1))
        return
    from fpenet.tao.preset import import_spec

    print(import_spec(options.source, options.params, options.out))
    _say_how_to_use(options.out, options.params)


def _sweep(options: argparse.Namespace, load: Load) -> None:
    """Try what ``sweep.space`` says, and write the best as a preset."""
    params = load(options, {})
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("one process trains a trial; several sweeps share a sweep.storage")
    for key, values in params.sweep.space.items():
        ends = (values.low, values.high) if isinstance(values, RangeParams) else values
        for value in ends:
            load(options, {key: value})
    inputs = {"crop": options.root / "crop"}
    verify(inputs["crop"])
    local = local_weights(
        params, options.root / "weights", ["train"], has_registry=has_mlflow(os.environ)
    )
    whole = stage_key(STAGES["train"], inputs, local).key
    own = params.sweep.model_dump(mode="json", exclude={"trials", "storage"})
    name = digest_json([whole, own])[:12]
    from fpenet.data.crops.store import open_crops
    from fpenet.model.sweep import run_sweep, settings_of

    def shown(trial: str, tried: Mapping[str, Any]) -> AbstractContextManager[None]:
        if not has_mlflow(os.environ):
            return nullcontext()
        return live_metrics(params.register_.experiment, trial, TrialOf(name, tried))

    folder = options.root / "sweep"
    store = open_crops(inputs["crop"])
    found = run_sweep(store, local.train, params.sweep, name, folder, shown)
    print(found.table)
    if has_mlflow(os.environ):
        log_sweep_result(params.register_.experiment, TrialOf(name, found.best), found.value)
    best = settings_of(params.train, found.best).model_dump(mode="json")
    out = options.out or folder / "best.yaml"
    title = f"Study {name}: {found.value:.3f} px of the 80x80 crop on people of train held aside"
    write_yaml({"train": best}, title, out)
    print(f"{out}: {', '.join(f'{key} = {value}' for key, value in found.best.items())}")
    _say_how_to_use(out, options.params)


def _say_how_to_use(out: Path, params: Path) -> None:
    """Say how a preset is used; one that lies elsewhere is none yet."""
    if out.parent.resolve() == (params.parent / "presets").resolve():
        print(f"use it with --preset {out.stem}, or make release PRESET={out.stem}")
