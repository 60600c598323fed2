"""``fpenet import-tao``: what people have, as params and weights to train on with."""

import argparse
import json
from pathlib import Path


def add_training_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    shared: argparse.ArgumentParser,
) -> None:
    """Add the commands."""
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


def _import_tao(options: argparse.Namespace) -> None:
    if options.source.suffix.lower() not in (".yaml", ".yml"):
        from components.deploy.tao_onnx import import_onnx

        print(json.dumps(import_onnx(options.source, options.out), indent=1))
        return
    from components.model.tao_preset import import_spec

    print(import_spec(options.source, options.params, options.out))
    if options.out.parent.resolve() == (options.params.parent / "presets").resolve():
        print(f"use it with --preset {options.out.stem}, or make release PRESET={options.out.stem}")
