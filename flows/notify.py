"""Prefect events of releases, for which the automations of automations.py send notifications.

The events are ``fpenet.release.promoted``, ``fpenet.release.refused`` and
``fpenet.release.pending``. Their resource is the version; their payload has a text, and the URLs of
the version in MLflow and of the flow run in Prefect.
"""

import os
import re

from prefect import runtime
from prefect.events import emit_event
from prefect.utilities.urls import url_for

from fpenet.core.records import Identifier
from fpenet.release.release_manifest import ReleaseManifest

EVENT = "fpenet.release."


class ReleaseEvent(Identifier):
    """An event of a release; the value is the end of the event's name."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    PENDING = "pending"


def emit_release_event(event: ReleaseEvent, model: str, version: str, name: str, text: str) -> None:
    """Emit one event; an error of the server does not fail the release.

    Args:
        name: name of the version, e.g. ``deployable_v3.0``.
        text: the text of the notification.
    """
    emit_event(
        f"{EVENT}{event}",
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


def emit_events_of(release: ReleaseManifest) -> None:
    """Emit the events of a finished release: pending targets, and a refusal by the gate."""
    version = release.model, release.version, release.name
    if release.pending:
        text = f"no worker built the engines of {', '.join(release.pending)}"
        emit_release_event(ReleaseEvent.PENDING, *version, text)
    if not release.candidate:
        text = f"not a candidate: {'; '.join(release.refused)}"
        emit_release_event(ReleaseEvent.REFUSED, *version, text)


def version_page(model: str, version: str) -> str | None:
    """URL of a version's page in MLflow; None where MLflow is not a server."""
    root = _mlflow()
    return root and f"{root}/#/models/{model}/versions/{version}"


def run_page(experiment_id: str, run_id: str) -> str | None:
    """URL of a run's page in MLflow; None where MLflow is not a server."""
    root = _mlflow()
    return root and f"{root}/#/experiments/{experiment_id}/runs/{run_id}"


def flow_run_page() -> str | None:
    """URL of this flow run's page in Prefect; None outside a flow run."""
    run_id = runtime.flow_run.id
    return url_for("flow-run", obj_id=run_id) if run_id else None


def _mlflow() -> str | None:
    """URL of the MLflow server without a password; None where it is not a server."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return re.sub("//[^/@]*@", "//", uri).rstrip("/") if uri.startswith("http") else None
