"""``fpenet promote``: what people do with releases."""

import argparse
import sys
from collections.abc import Callable

from components.params import Params

Load = Callable[[argparse.Namespace], Params]
NO_ANSWER, REFUSED = 1, 3
_VERSION = "number of a version of the deployable model, or its name, as deployable_v3.0"
_PATIENCE_SECONDS = 90.0  # longer than a lost event can take


def add_release_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    shared: argparse.ArgumentParser,
    load: Load,
) -> None:
    """Add the commands; ``load`` makes the params of their options."""
    promote = commands.add_parser(
        "promote", parents=[shared], help="ask for a version to be deployable, as in MLflow's UI"
    )
    promote.add_argument("version", metavar="VERSION", help=_VERSION)
    promote.add_argument(
        "--wait",
        type=float,
        default=_PATIENCE_SECONDS,
        metavar="SECONDS",
        help="for the gate's answer; default: %(default)s",
    )
    promote.set_defaults(run=lambda options: _promote(options, load(options)))


def _promote(options: argparse.Namespace, params: Params) -> int:
    from components.release.ask import ask_for

    try:
        link = ask_for(params, options.version, options.wait)
    except ConnectionError as error:
        print(f"fpenet promote: {error}", file=sys.stderr)
        return NO_ANSWER
    refused = link.action == "refused"
    words = f"refused, {link.name or 'nothing'} stays deployable" if refused else "is deployable"
    print(f"{link.model} version {link.asked}: {words} (sequence {link.sequence})")
    if refused:
        print(f"  {link.why}")
    return REFUSED if refused else 0
