"""What is told of releases: Prefect events, which automations.py has the server send to people.

``fpenet.release.promoted``, ``fpenet.release.refused`` and ``fpenet.release.pending`` name the
version; their payload says what happened, and where MLflow and Prefect show it.
"""

import os
import re

from prefect import runtime
from prefect.events import emit_event
from prefect.utilities.urls import url_for

from fpenet.core.records import Identifier
from fpenet.release.release_manifest import ReleaseManifest

EVENT = "fpenet.release."


class Happened(Identifier):
    """What happened to a release; ends the name of an event."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    PENDING = "pending"


def tell(happened: Happened, model: str, version: str, name: str, text: str) -> None:
    """Emit one event; that the server is away is no failure of the release.

    Args:
        name: of the version, as ``deployable_v3.0``.
        text: what happened and why, for people.
    """
    emit_event(
        f"{EVENT}{happened}",
        resource={
            "prefect.resource.id": f"fpenet.model.{model}.{version}",
            "prefect.resource.name": name,
        },
        payload={
            "text": text,
            "mlflow": version_page(model, version) or "",
            "prefect": flow_run_page() or "",
        },
    )


def tell_of_release(release: ReleaseManifest) -> None:
    """Tell what a finished run has to be told of: targets that wait, and the gate's refusal."""
    about = release.model, release.version, release.name
    if release.pending:
        tell(Happened.PENDING, *about, f"no worker built for {', '.join(release.pending)}")
    if not release.candidate:
        tell(Happened.REFUSED, *about, f"no candidate: {'; '.join(release.refused)}")


def version_page(model: str, version: str) -> str | None:
    """Where MLflow shows a version; None where it is not a server."""
    root = _mlflow()
    return root and f"{root}/#/models/{model}/versions/{version}"


def run_page(experiment_id: str, run_id: str) -> str | None:
    """Where MLflow shows a run; None where it is not a server."""
    root = _mlflow()
    return root and f"{root}/#/experiments/{experiment_id}/runs/{run_id}"


def flow_run_page() -> str | None:
    """Where Prefect shows this flow run; None outside of one."""
    run_id = runtime.flow_run.id
    return url_for("flow-run", obj_id=run_id) if run_id else None


def _mlflow() -> str | None:
    """The server's address, without a password."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return re.sub("//[^/@]*@", "//", uri).rstrip("/") if uri.startswith("http") else None
