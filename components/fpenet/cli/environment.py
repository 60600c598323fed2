"""The environment variables that commands and flows read; the other packages read none."""

import base64
from collections.abc import Mapping


def rank_in(environ: Mapping[str, str]) -> int:
    """The rank of this process in a ``torchrun`` job; 0 for a single process."""
    return int(environ.get("RANK", "0"))


def has_mlflow(environ: Mapping[str, str]) -> bool:
    """Whether MLflow is configured."""
    return bool(environ.get("MLFLOW_TRACKING_URI"))


def authorization(environ: Mapping[str, str]) -> dict[str, str]:
    """The authorization header, from the same variables as in MLflow's client."""
    if token := environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if user := environ.get("MLFLOW_TRACKING_USERNAME"):
        pair = f"{user}:{environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def thread_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """OpenMP variables for a training; they must be set before torch is imported.

    A waiting OpenMP thread polls 1,000 times, then sleeps. GNU's default is 300,000 times, which
    blocks the core for the thread that it waits for if another process runs: next to one busy
    process, training had a third of its speed. Without other processes the speed is the same
    (benchmarks/results/training.md). If ``OMP_WAIT_POLICY`` is set, nothing is changed.
    """
    return {} if "OMP_WAIT_POLICY" in environ else {"GOMP_SPINCOUNT": "1000"}
