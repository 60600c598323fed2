"""``fpenet get``: a release onto this device; needs the light install and no params.yaml."""

import argparse
import base64
import os
from collections.abc import Mapping
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.provenance.signing import read_trusted
from fpenet.release.evidence import DEPLOYABLE

MODEL = "fpenet-deployable"


def add_get_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``get``."""
    get = commands.add_parser("get", help="the bundle of one target, out of MLflow or from S3")
    which = get.add_mutually_exclusive_group()
    which.add_argument("--alias", default=DEPLOYABLE, help=f"default: {DEPLOYABLE}")
    which.add_argument("--version", help="its number, instead of an alias")
    get.add_argument("--target", required=True, help="e.g. t4")
    get.add_argument("--out", type=Path, required=True, help="folder for the bundle")
    get.add_argument(
        "--from",
        dest="source",
        default=os.environ.get("MLFLOW_TRACKING_URI"),
        help="http://host:5000 of MLflow (default: $MLFLOW_TRACKING_URI), or the release store:"
        " s3://bucket/prefix, or a folder",
    )
    get.add_argument("--endpoint", help="of the S3 server; default: AWS, or AWS_ENDPOINT_URL")
    get.add_argument("--model", default=MODEL, help=f"registered model; default: {MODEL}")
    get.add_argument(
        "--trusted",
        type=Path,
        nargs="+",
        default=[Path(".keys")],
        metavar="KEYS",
        help="NAME.pub, and folders of them, of who signs; default: .keys",
    )
    get.set_defaults(run=_run_get)


def _run_get(options: argparse.Namespace) -> None:
    from fpenet.release.fetch.clients import (
        RegistryClient,
        ReleaseClient,
        StoreClient,
        VersionQuery,
    )
    from fpenet.release.fetch.get import get_release
    from fpenet.release.store.open_store import open_store

    if not options.source:
        raise InputError("--from is missing, and MLFLOW_TRACKING_URI is not set")
    source: ReleaseClient
    if options.source.startswith(("http://", "https://")):
        source = RegistryClient(options.source.rstrip("/"), _authorization(os.environ))
    elif "://" in options.source and not options.source.startswith("s3://"):
        raise InputError(f"--from {options.source}: must be http(s)://, s3:// or a folder")
    else:
        source = StoreClient(open_store(options.source, options.endpoint))
    trusted = read_trusted(options.trusted)
    wanted = VersionQuery(options.model, options.alias, options.version)
    got = get_release(source, wanted, options.target, options.out, trusted)
    release, link = got.release, got.link
    print(
        f"{release.name}: version {release.version} of {release.model}, for {options.target},"
        f" in {options.out}{'' if got.fresh else ', where it was already'}"
    )
    print(f"released by the {release.released_by}")
    if link is not None:
        print(f"{link.action} {link.when} by {link.who}: {link.why}")
    for reason in release.said["refused"]:
        print(f"not a candidate: {reason}")


def _authorization(environ: Mapping[str, str]) -> dict[str, str]:
    """The header that MLflow's own client would send."""
    if token := environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if user := environ.get("MLFLOW_TRACKING_USERNAME"):
        pair = f"{user}:{environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}
