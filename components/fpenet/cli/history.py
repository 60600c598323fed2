"""``fpenet history`` and ``fpenet rollback``: what was deployable, and going back to it."""

import argparse
import getpass
import os
import sys
from collections.abc import Callable

from fpenet.params import Params

Load = Callable[[argparse.Namespace], Params]
BROKEN_CHAIN, SUPERSEDED = 1, 1


def add_history_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    shared: argparse.ArgumentParser,
    load: Load,
) -> None:
    """Add the commands; ``load`` makes the params of their options."""
    history = commands.add_parser(
        "history", parents=[shared], help="who made which version deployable, when and why"
    )
    history.add_argument("--json", action="store_true", help="one link a line, the latest first")
    history.set_defaults(run=lambda options: _history(options, load(options)))
    rollback = commands.add_parser(
        "rollback", parents=[shared], help="make an older version deployable again"
    )
    rollback.add_argument(
        "--to", metavar="VERSION", help="its number or name; default: what was deployable before"
    )
    rollback.add_argument("--reason", default="rolled back", help="for the history")
    rollback.set_defaults(run=lambda options: _rollback(options, load(options)))


def _history(options: argparse.Namespace, params: Params) -> int:
    from fpenet.provenance.signing import read_trusted
    from fpenet.release.store.open_store import release_store
    from fpenet.release.store.pointer import entry_json, read_history

    trusted = read_trusted(params.trust.public_keys)
    history = read_history(release_store(params), trusted, _witnessed(params))
    for link in history.links:
        if options.json:
            print(entry_json(link))
            continue
        stays = f", {link.name} stays" if link.action == "refused" and link.name else ""
        asked = link.name if link.action != "refused" else f"version {link.asked}"
        print(f"{link.sequence:4}  {link.when}  {asked} {link.action}{stays}")
        approved = f"; approved by {', '.join(link.approvals)}" if link.approvals else ""
        print(f"      by {link.who}: {link.why}{approved}")
    for problem in history.problems:
        print(f"fpenet history: {problem}", file=sys.stderr)
    if not (history.links or history.problems):
        print("nothing was ever deployable")
    return BROKEN_CHAIN if history.problems else 0


def _witnessed(params: Params) -> int:
    """The latest sequence that MLflow was told of; 0 where there is no MLflow to ask."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        return 0
    from fpenet.release.registry import tracking, versions

    try:
        with tracking.mlflow_errors():
            return versions.latest_sequence(params.register_.deployable_model)
    except ConnectionError as error:
        print(f"fpenet history: the pointer's own store alone is asked: {error}", file=sys.stderr)
        return 0


def _rollback(options: argparse.Namespace, params: Params) -> int:
    from fpenet.release.promotion.rollback import roll_back
    from fpenet.release.store.interface import Superseded

    try:
        link = roll_back(params, options.to, getpass.getuser(), options.reason)
    except Superseded as error:
        print(f"fpenet rollback: superseded: {error}", file=sys.stderr)
        return SUPERSEDED
    words = f"{link.model} version {link.version} ({link.name})"
    print(f"{words} is deployable (sequence {link.sequence})")
    return 0
