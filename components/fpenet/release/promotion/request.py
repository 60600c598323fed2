"""Ask for a promotion from the command line: what a click on the alias in MLflow does, and wait."""

import time

from fpenet.core.errors import InputError
from fpenet.params import Params
from fpenet.provenance.signing import read_trusted
from fpenet.release.evidence import DEPLOYABLE
from fpenet.release.registry import versions
from fpenet.release.registry.tracking import mlflow_errors
from fpenet.release.store.open_store import release_store
from fpenet.release.store.pointer import LedgerEntry, read_head

_SECONDS_BETWEEN_LOOKS = 0.5


def version_number(params: Params, version: str) -> str:
    """The number of a version of the deployable model.

    Args:
        version: its number, or what it is called: ``deployable_v3.0``.

    Raises:
        InputError: there is none.
    """
    model = params.register_.deployable_model
    with mlflow_errors():
        if version.isdecimal():
            found = version if versions.has_version(model, version) else None
        else:
            found = versions.find_named(model, version)
    if found is None:
        raise InputError(f"{model}: has no version {version}; the page of the model lists them")
    return found


def request_promotion(
    params: Params, version: str, patience_seconds: float
) -> tuple[str, LedgerEntry]:
    """Set the alias ``deployable`` and wait for the gate's answer.

    Returns:
        the version's number, and the link of the pointer that answers it; the latest one where the
        version is deployable already.

    Raises:
        ConnectionError: the gate gave no answer in time; the request stands.
    """
    store, trusted = release_store(params), read_trusted(params.trust.public_keys)
    version = version_number(params, version)
    before = read_head(store, trusted)
    with mlflow_errors():
        versions.set_alias(params.register_.deployable_model, DEPLOYABLE, version)
    if before.link and before.version == version:
        return version, before.link
    end = time.monotonic() + patience_seconds
    while time.monotonic() < end:
        link = read_head(store, trusted).link
        if link and link.sequence > before.sequence and link.asked == version:
            return version, link
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    raise ConnectionError(
        f"the gate has not answered within {patience_seconds:g} s; the request stands. Is the gate"
        " up? `make up` starts it"
    )
