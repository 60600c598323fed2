"""Markdown in which every number is a link to the evidence that it stands in."""

import re
from collections.abc import Iterable, Sequence


def cite(value: float | None, source: str, fmt: str) -> str:
    """A number as a link to its evidence; n/a where there is none.

    >>> n(0.0425, "kpi", ".2%"), n(None, "kpi", "d")
    ('[4.25%][kpi]', 'n/a')
    """
    return "n/a" if value is None else f"[{value:{fmt}}][{source}]"


def cite_interval(value: float | None, ends: Iterable[float] | None, source: str, fmt: str) -> str:
    """A number and its interval.

    >>> with_interval(2.0, (1.5, 2.5), "kpi", ".1f")
    '[2.0][kpi] ([1.5][kpi] to [2.5][kpi])'
    """
    said = cite(value, source, fmt)
    if value is None or ends is None:
        return said
    low, high = ends
    return f"{said} ({cite(low, source, fmt)} to {cite(high, source, fmt)})"


def cited_names(sentence: str) -> str:
    """A sentence with the words that hold a digit as names.

    >>> names("Engines that nobody executed: t4 fp16, nano.")
    'Engines that nobody executed: `t4` `fp16`, nano.'
    """
    return re.sub(r"[^\s,;:()]*\d[^\s,;:()]*(?<!\.)", r"`\g<0>`", sentence)


def citation_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
