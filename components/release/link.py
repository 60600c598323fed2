"""The way back from MLflow to what made a release: its flow run in Prefect."""

from collections.abc import Mapping
from typing import Any

FLOW_RUN_TAG = "fpenet.flow_run"


def link_release(release: Mapping[str, Any], url: str) -> None:
    """Have the run and both versions of a release name the page ``url``.

    Args:
        release: what release.json says.

    Raises:
        ConnectionError: MLflow is away.
    """
    from components.release import registry, tracking

    with tracking.mlflow_errors():
        tracking.link_run(release["run_id"], FLOW_RUN_TAG, url)
        for model, version in (("model", "version"), ("trainable_model", "trainable_version")):
            registry.tag_version(release[model], release[version], {FLOW_RUN_TAG: url})
