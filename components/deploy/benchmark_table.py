"""One table over torch, ONNX Runtime and TensorRT: size, error, time and status of each engine.

Input: rows of ``engines.json``, the trained net's KPI and what was timed. Output: Markdown, with
the model card's numbers for the same device beside ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from components.deploy.targets import TARGETS

HEADER = (
    "target",
    "precision",
    "runtime",
    "MB",
    "NME",
    "px of 80",
    "p50, ms",
    "p99, ms",
    "faces/s (batch)",
    "card, ms",
    "card, FPS",
    "status",
)
NOTHING = "–"


def table(
    engines: Sequence[Mapping[str, Any]],
    kpi: Mapping[str, Any],
    timings: Sequence[Mapping[str, Any]],
    modes: Sequence[Mapping[str, Any]],
    torch: Mapping[str, Any],
) -> str:
    """The table.

    Args:
        kpi: ``kpi.json`` of the trained net.
        timings: rows of ``benchmark.json``.
        modes: of ``modes.json``; with copies and without a CUDA graph they are what the card timed.
        torch: size and status of the trained net, as a row of ``engines.json``.
    """
    normaliser = kpi["normaliser"]
    lines = [_line(HEADER), "|---" * len(HEADER) + "|"]
    for engine in [dict(torch) | {"metrics": kpi["metrics"]}, *engines]:
        metrics = engine["metrics"] or {}
        nme, px = metrics.get(f"nme_{normaliser}/all"), metrics.get("crop_px/all")
        own = [row for row in timings if _name(row) == _name(engine)]
        own = own or [row for row in modes if _name(row) == _name(engine) and _as_card(row)]
        first = next((row for row in own if row["batch_size"] == 1), None)
        best = max(own, key=lambda row: float(row["faces_per_second"]), default=None)
        target = TARGETS.get(engine["target"])
        card = target.card if target and engine["precision"] == "fp16" else None
        lines.append(
            _line(
                (
                    engine["target"],
                    engine["precision"],
                    engine["runtime"],
                    NOTHING if not engine["size_bytes"] else f"{engine['size_bytes'] / 1e6:.2f}",
                    NOTHING if nme is None else f"{nme:.2%}",
                    NOTHING if px is None else f"{px:.3f}",
                    NOTHING if first is None else f"{first['p50_ms']:.3f}",
                    NOTHING if first is None else f"{first['p99_ms']:.3f}",
                    NOTHING
                    if best is None
                    else f"{best['faces_per_second']:,.0f} ({best['batch_size']})",
                    NOTHING if card is None or not card.latency_ms else f"{card.latency_ms:g}",
                    NOTHING if card is None or not card.fps else f"{card.fps:g}",
                    engine["status"],
                )
            )
        )
    return "\n".join(lines) + "\n"


def _name(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["target"], row["precision"]


def _as_card(row: Mapping[str, Any]) -> bool:
    return bool(row["copies"] and not row["cuda_graph"])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
