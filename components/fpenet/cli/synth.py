"""``fpenet synth``: its own options, each a key of the section ``synth`` of params.yaml."""

import argparse
from pathlib import Path
from typing import Any

KEYS = ("seed", "subjects", "faces_per_subject", "views", "scheme", "workers")


def add_synth_options(command: argparse.ArgumentParser) -> None:
    """The options that ``synth_overrides`` reads."""
    add = command.add_argument
    add("--subjects", type=int, metavar="N", help="training subjects, beside the 23 KPI subjects")
    add("--faces-per-subject", type=int, metavar="N", help="photographs of each subject")
    add("--views", nargs="+", metavar="VIEW", help="all, near-frontal, profile, or cameras: 05_1")
    add("--scheme", metavar="FILE", help="keypoints of your own, e.g. schemes/ten.yaml")
    add("--mesh", type=Path, metavar="FILE.obj", help="write the mean head, and render nothing")
    add("--seed", type=int, help="another population")
    add("--workers", type=int, metavar="N", help="processes; they change no byte")


def synth_overrides(options: argparse.Namespace) -> dict[str, Any]:
    """What was said on the command line of ``synth``, as dotted keys of params.yaml.

    >>> synth_overrides(argparse.Namespace(command="synth", views=["05_1"], seed=None))
    {'synth.views': ['05_1']}
    """
    if options.command != "synth":
        return {}
    given = {key: getattr(options, key, None) for key in KEYS}
    return {f"synth.{key}": value for key, value in given.items() if value is not None}


def wants_mesh(options: argparse.Namespace) -> bool:
    """Whether the mean head is asked for, and no data set."""
    return options.command == "synth" and options.mesh is not None


def write_mesh(options: argparse.Namespace) -> None:
    """Write the mean head for a 3-D viewer."""
    from synthface.head.scheme import head_obj

    options.mesh.write_text(head_obj(), encoding="ascii")
    print(f"{options.mesh}: vertices count from 0 in a scheme file (docs/synthetic.md)")
