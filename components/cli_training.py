"""``fpenet import-tao``: what people have, as params and weights to train on with."""

import argparse
from pathlib import Path


def add_training_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    shared: argparse.ArgumentParser,
) -> None:
    """Add the commands."""
    take = commands.add_parser(
        "import-tao", parents=[shared], help="a TAO FPENet's experiment_spec.yaml"
    )
    take.add_argument("source", type=Path, metavar="SPEC", help="experiment_spec.yaml")
    take.add_argument("--out", type=Path, required=True, help="a new file, presets/NAME.yaml")
    take.set_defaults(run=_import_tao)


def _import_tao(options: argparse.Namespace) -> None:
    from components.model.tao_preset import import_spec

    print(import_spec(options.source, options.params, options.out))
    if options.out.parent.resolve() == (options.params.parent / "presets").resolve():
        print(f"use it with --preset {options.out.stem}, or make release PRESET={options.out.stem}")
