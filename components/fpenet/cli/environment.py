"""What the commands and flows read of the environment; nothing below them reads any of it."""

from collections.abc import Mapping


def rank_in(environ: Mapping[str, str]) -> int:
    """The number of this process among those that ``torchrun`` started; alone, 0."""
    return int(environ.get("RANK", "0"))


def has_mlflow(environ: Mapping[str, str]) -> bool:
    """Whether MLflow is configured."""
    return bool(environ.get("MLFLOW_TRACKING_URI"))


def thread_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Settings of OpenMP for a training, to be made before torch is loaded.

    An OpenMP thread that waits for another one polls a thousand times, then sleeps. GNU's default,
    300,000 times, takes the core from the very thread it waits for as soon as anything else runs:
    with one other busy process training fell to a third of its rate; alone it is as fast this way
    (benchmarks/results/training.md). ``OMP_WAIT_POLICY`` of the environment comes first.
    """
    return {} if "OMP_WAIT_POLICY" in environ else {"GOMP_SPINCOUNT": "1000"}
