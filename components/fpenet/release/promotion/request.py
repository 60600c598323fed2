"""Request a promotion from the command line: set the alias in MLflow and wait for the decision."""

import time

from fpenet.core.errors import InputError
from fpenet.params import Params
from fpenet.provenance.signing import read_trusted
from fpenet.release.evidence import DEPLOYABLE
from fpenet.release.registry import versions
from fpenet.release.registry.tracking import mlflow_errors
from fpenet.release.store.open_store import release_store
from fpenet.release.store.pointer import LedgerEntry, read_pointer

_POLL_SECONDS = 0.5


def version_number(params: Params, version: str) -> str:
    """The number of a version of the deployable model.

    Args:
        version: its number or its name, e.g. ``deployable_v3.0``.

    Raises:
        InputError: there is no such version.
    """
    model = params.register_.deployable_model
    with mlflow_errors():
        if version.isdecimal():
            number = version if versions.has_version(model, version) else None
        else:
            number = versions.find_named(model, version)
    if number is None:
        raise InputError(f"{model}: has no version {version}; its page in MLflow lists them")
    return number


def request_promotion(
    params: Params, version: str, patience_seconds: float
) -> tuple[str, LedgerEntry]:
    """Set the alias ``deployable`` and wait for the decision of the promotion watcher.

    Returns:
        the number of the version, and the ledger entry of the decision; the latest entry where the
        version is already deployable.

    Raises:
        ConnectionError: no decision was made in time; the request stays pending.
    """
    store, trusted = release_store(params), read_trusted(params.trust.public_keys)
    version = version_number(params, version)
    before = read_pointer(store, trusted)
    with mlflow_errors():
        versions.set_alias(params.register_.deployable_model, DEPLOYABLE, version)
    if before.entry and before.version == version:
        return version, before.entry
    end = time.monotonic() + patience_seconds
    while time.monotonic() < end:
        entry = read_pointer(store, trusted).entry
        if entry and entry.sequence > before.sequence and entry.requested == version:
            return version, entry
        time.sleep(_POLL_SECONDS)
    raise ConnectionError(
        f"no decision within {patience_seconds:g} s; the request stays pending. Does the promotion"
        " watcher run? `make up` starts it"
    )
