"""How a stage tells how far it is: one structured log record, which the CLI and the flows draw."""

import logging

LOGGER = logging.getLogger("components.progress")


def report(done: int, total: int, unit: str, **metrics: float) -> None:
    """Log that ``done`` of ``total`` ``unit`` are finished, with the ``metrics`` of this moment.

    The record carries ``done``, ``total``, ``unit`` and ``metrics`` as attributes.
    """
    LOGGER.info(
        "%d/%d %s%s",
        done,
        total,
        unit,
        "".join(f" {name}={value:.4g}" for name, value in metrics.items()),
        extra={"done": done, "total": total, "unit": unit, "metrics": metrics},
    )
