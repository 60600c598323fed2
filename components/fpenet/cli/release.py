"""The commands of the chapter release: run all stages, register, promote, roll back, download."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from fpenet.cli.command import CommandResult, ParamsOptions, add_command
from fpenet.cli.environment import authorization, has_mlflow
from fpenet.cli.plan import plan
from fpenet.cli.services import NOT_RUNNING, is_checkout, require_mlflow
from fpenet.cli.stage import add_stages
from fpenet.core.errors import InputError

CHAPTER = "Release"
REFUSED, SUPERSEDED, BROKEN_CHAIN, NOT_CHECKED = 3, 1, 1, 2
MODEL = "fpenet-deployable"
DEPLOYABLE = "deployable"  # the alias; a test compares it with release/evidence.py
_PATIENCE_SECONDS = 90.0  # longer than promote.reconcile_seconds, in case an event is lost
Version = Annotated[
    str,
    typer.Argument(metavar="VERSION", help="Its number, or its name, e.g. deployable_v3.0."),
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this chapter."""
    add_command(app, CHAPTER, plan)
    add_command(app, CHAPTER, release)
    add_stages(app, CHAPTER, {})
    for function in (promote, approve, rollback, history, get):
        add_command(app, CHAPTER, function)


def release(
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="LABELS",
            help="A folder, a label file, or s3://bucket/prefix; default: data.labels.",
        ),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="A file of presets/, by name.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of train.epochs.")] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME...", help="Instead of build.targets."),
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE...", help="New values for keys of params.yaml."),
    ] = None,
    as_json: bool = False,
) -> CommandResult:
    """Run all stages of a release and show their progress; needs a checkout."""
    if not is_checkout():
        raise InputError(
            "needs a checkout of fpenet: run it in the folder of flows/ and params.yaml"
        )
    words = [sys.executable, "-m", "flows.watch"]
    for option, value in (("--labels", labels), ("--preset", preset), ("--epochs", epochs)):
        words += [option, str(value)] if value is not None else []
    for option, values in (("--targets", targets), ("--set", pairs)):
        words += [option, *values] if values else []
    words += ["--json"] if as_json else []
    sys.stdout.flush()
    os.execv(sys.executable, words)


def promote(
    options: ParamsOptions,
    version: Version,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="Longest wait for the promotion decision.")
    ] = _PATIENCE_SECONDS,
) -> CommandResult:
    """Request that a version becomes deployable, and wait for the decision."""
    from fpenet.release.promotion.request import request_promotion

    require_mlflow()
    number, entry = request_promotion(options.load(), version, wait)
    refused = entry.version != number
    words = f"refused, {entry.name or 'nothing'} stays deployable" if refused else "is deployable"
    text = f"{entry.model} version {number}: {words} (sequence {entry.sequence})"
    if refused:
        text += f"\n  {entry.why}"
    return CommandResult(entry.tree(), text, REFUSED if refused else 0)


def approve(
    options: ParamsOptions,
    version: Version,
    reason: Annotated[str, typer.Option(help="The reason, which the history shows.")],
    key: Annotated[Path, typer.Option(metavar="NAME.pem", help="The private key of the approver.")],
) -> CommandResult:
    """Sign that a version may become deployable."""
    from fpenet.provenance.signing import read_signing_key
    from fpenet.release.promotion.approvals import approve_version
    from fpenet.release.promotion.request import version_number

    params, signing_key = options.load(), read_signing_key(key)
    require_mlflow()
    number = version_number(params, version)
    text = approve_version(params, number, reason, signing_key)
    return CommandResult({"version": number, "reason": reason, "message": text}, text)


def rollback(
    options: ParamsOptions,
    to: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Default: the version that was deployable before."),
    ] = None,
    reason: Annotated[
        str, typer.Option(help="The reason, which the history shows.")
    ] = "rolled back",
) -> CommandResult:
    """Make an earlier version deployable again."""
    import getpass

    from fpenet.release.promotion.rollback import roll_back
    from fpenet.release.store.interface import Superseded

    params = options.load()
    require_mlflow()
    try:
        entry = roll_back(params, to, getpass.getuser(), reason)
    except Superseded as error:
        return CommandResult(None, "", SUPERSEDED, [f"superseded: {error}"])
    words = f"{entry.model} version {entry.version} ({entry.name})"
    return CommandResult(entry.tree(), f"{words} is deployable (sequence {entry.sequence})")


def history(options: ParamsOptions) -> CommandResult:
    """List all promotion decisions with time, requester and reason, the latest first.

    With ``--json``, one entry per line.
    """
    from fpenet.provenance.signing import read_trusted
    from fpenet.release.store.open_store import release_store
    from fpenet.release.store.pointer import LedgerAction, read_history

    params = options.load()
    latest, messages, status = 0, [], 0
    try:
        latest = _latest_in_mlflow(params.register_.deployable_model)
    except ConnectionError as error:
        messages.append(f"checked against the release store only: {error}")
    except InputError as error:
        messages.append(f"checked against the release store only: {error}")
        status = NOT_CHECKED
    trusted = read_trusted(params.trust.public_keys)
    ledger = read_history(release_store(params), trusted, latest)
    lines = []
    for entry in ledger.entries:
        refused = entry.action is LedgerAction.REFUSED
        stays = f", {entry.name} stays" if refused and entry.name else ""
        version = f"version {entry.requested}" if refused else entry.name
        lines.append(f"{entry.sequence:4}  {entry.when}  {version} {entry.action.words}{stays}")
        approved = f"; approved by {', '.join(entry.approvals)}" if entry.approvals else ""
        lines.append(f"      by {entry.who}: {entry.why}{approved}")
    if not (ledger.entries or ledger.problems):
        lines.append("no version was ever deployable")
    return CommandResult(
        [entry.tree() for entry in ledger.entries],
        "\n".join(lines),
        BROKEN_CHAIN if ledger.problems else status,
        [*messages, *ledger.problems],
        json_lines=True,
    )


def _latest_in_mlflow(model: str) -> int:
    """The latest sequence in MLflow's tags; 0 outside a checkout where MLflow is not configured."""
    if not (has_mlflow(os.environ) or is_checkout()):
        return 0
    require_mlflow()
    from fpenet.release.registry import tracking, versions

    with tracking.mlflow_errors():
        return versions.latest_sequence(model)


def get(
    target: Annotated[str, typer.Option(metavar="NAME", help="The target, e.g. t4.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder for the bundle.")],
    alias: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"An alias; default: {DEPLOYABLE}.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="A version, instead of an alias.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="URL",
            envvar="MLFLOW_TRACKING_URI",
            help="MLflow (http://host:5000) or the release store (s3://bucket/prefix or a folder).",
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The S3 server; default: AWS_ENDPOINT_URL, or AWS."),
    ] = None,
    model: Annotated[str, typer.Option(metavar="NAME", help="The registered model.")] = MODEL,
    trusted: Annotated[
        list[Path],
        typer.Option(metavar="KEYS...", help="Files NAME.pub, or folders of them: trusted keys."),
    ] = [Path(".keys")],  # noqa: B006
) -> CommandResult:
    """Download the bundle of one target from MLflow or the release store."""
    from fpenet.provenance.signing import read_trusted
    from fpenet.release.fetch.clients import (
        RegistryClient,
        ReleaseClient,
        StoreClient,
        VersionQuery,
    )
    from fpenet.release.fetch.get import get_release
    from fpenet.release.store.open_store import open_store

    if alias and version:
        raise InputError(f"--alias {alias} and --version {version}: use only one of them")
    if not source and is_checkout():
        raise InputError(f"{NOT_RUNNING}, or use --from")
    if not source:
        raise InputError("--from is missing, and MLFLOW_TRACKING_URI is not set")
    client: ReleaseClient
    if source.startswith(("http://", "https://")):
        client = RegistryClient(source.rstrip("/"), authorization(os.environ))
    elif "://" in source and not source.startswith("s3://"):
        raise InputError(f"--from {source}: must be http(s)://, s3:// or a folder")
    else:
        client = StoreClient(open_store(source, endpoint))
    keys = read_trusted(trusted)
    query = VersionQuery(model, alias or DEPLOYABLE, version)
    fetched = get_release(client, query, target, out, keys)
    release, entry = fetched.release, fetched.entry
    lines = [
        f"{release.name}: version {release.version} of {release.model}, for {target},"
        f" in {out}{'' if fetched.fresh else ' (already downloaded)'}",
        f"signed by the {release.released_by}",
    ]
    lines += [f"{entry.action.words} {entry.when} by {entry.who}: {entry.why}"] if entry else []
    refusals = list(release.manifest.refused)
    lines += [f"not a candidate: {reason}" for reason in refusals]
    value = {
        "name": release.name,
        "version": release.version,
        "model": release.model,
        "target": target,
        "out": out.as_posix(),
        "fresh": fetched.fresh,
        "refused": refusals,
    }
    return CommandResult(value, "\n".join(lines))
