"""The services of ``make up`` in this checkout, and MLflow's address for the commands.

``infra/`` writes ``.services/addresses.json`` when the services are up and removes it when they
stop. A variable of the environment has priority over it, as with Prefect and prefect.toml.
"""

import os
import socket
from collections.abc import Collection, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fpenet.cli.environment import has_mlflow
from fpenet.core.errors import InputError

if TYPE_CHECKING:
    from fpenet.params import Params

ADDRESSES = Path(".services/addresses.json")
NOT_RUNNING = "MLflow of this checkout is not running: make up"
_SQLITE = "sqlite:///"
_CONNECT_SECONDS = 2.0


def use_services(environ: MutableMapping[str, str]) -> None:
    """Set MLFLOW_TRACKING_URI to the running MLflow of this checkout, unless it is set."""
    if has_mlflow(environ) or not ADDRESSES.is_file():
        return
    from fpenet.core.service_addresses import ServiceAddresses

    address = ServiceAddresses.read(ADDRESSES).mlflow
    if _accepts(address):
        environ["MLFLOW_TRACKING_URI"] = address


def is_checkout() -> bool:
    """Whether the working folder is a checkout of fpenet, whose services ``make up`` starts."""
    return Path("flows/watch.py").is_file() and Path("params.yaml").is_file()


def require_mlflow() -> None:
    """Refuse a command that needs MLflow where there is none.

    MLflow's client would make a database in the working folder.

    Raises:
        InputError: MLflow is not configured and, in a checkout, does not run; or the configured
            database does not exist.
    """
    if not has_mlflow(os.environ):
        line = (
            "MLFLOW_TRACKING_URI is not set; it is the address of MLflow, e.g. http://mlflow:5000"
        )
        raise InputError(NOT_RUNNING if is_checkout() else line)
    uri = os.environ["MLFLOW_TRACKING_URI"]
    if uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE)).is_file():
        raise InputError(f"MLFLOW_TRACKING_URI is {uri}: no such database")


def downloaded_model(name: str, into: Path) -> Path:
    """The local path of a model; a registered model is downloaded below ``into``.

    Raises:
        InputError: the path does not exist, the name is not of a registered version, or MLflow is
            needed and not there.
        ConnectionError: MLflow cannot be reached or refuses the request.
    """
    from fpenet.release.registry.local_models import (
        check_version_name,
        is_registered,
        local_model,
    )

    if is_registered(name):
        check_version_name(name)
        require_mlflow()
    return local_model(name, into)


def downloaded_weights(
    params: "Params", into: Path, sections: Collection[str] = ("train", "gate")
) -> "Params":
    """``params`` with local folders in place of the registered models of these sections.

    Raises:
        InputError: a value does not name a registered version or alias, or MLflow is needed and not
            there.
        ConnectionError: MLflow cannot be reached or refuses the request.
    """
    from fpenet.release.registry.local_models import local_weights, names_version

    if names_version(params, sections):
        require_mlflow()
    return local_weights(params, into, sections, has_registry=has_mlflow(os.environ))


def _accepts(address: str) -> bool:
    """Whether a server accepts connections at this URL."""
    url = urlsplit(address)
    try:
        with socket.create_connection((url.hostname, url.port), _CONNECT_SECONDS):
            return True
    except OSError:
        return False
