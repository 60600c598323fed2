"""``fpenet promote`` and ``fpenet approve``: what people do with a version that is registered."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from fpenet.params import Params

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
    approve = commands.add_parser(
        "approve", parents=[shared], help="sign that a version may be deployable"
    )
    approve.add_argument("version", metavar="VERSION", help=_VERSION)
    approve.add_argument("--reason", required=True, help="it stays in the release's history")
    approve.add_argument(
        "--key", type=Path, required=True, metavar="NAME.pem", help="your own, of `fpenet key`"
    )
    approve.set_defaults(run=lambda options: _approve(options, load(options)))


def _approve(options: argparse.Namespace, params: Params) -> None:
    from fpenet.provenance.signing import read_signing_key
    from fpenet.release.promotion.approvals import approve_version
    from fpenet.release.promotion.request import version_number

    key = read_signing_key(options.key)
    print(approve_version(params, version_number(params, options.version), options.reason, key))


def _promote(options: argparse.Namespace, params: Params) -> int:
    from fpenet.release.promotion.request import request_promotion

    try:
        version, link = request_promotion(params, options.version, options.wait)
    except ConnectionError as error:
        print(f"fpenet promote: {error}", file=sys.stderr)
        return NO_ANSWER
    refused = link.version != version
    words = f"refused, {link.name or 'nothing'} stays deployable" if refused else "is deployable"
    print(f"{link.model} version {version}: {words} (sequence {link.sequence})")
    if refused:
        print(f"  {link.why}")
    return REFUSED if refused else 0
