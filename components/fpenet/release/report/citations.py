"""Markdown in which every number is a link to the evidence that it stands in."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.provenance.digest import digest_file

SOURCES = {
    "labels": "validate/report.json",
    "rules": "validate/manifest.json",
    "split": "split/manifest.json",
    "training": "train/manifest.json",
    "kpi": "evaluate/kpi.json",
    "engines": "build/engines.json",
    "latency": "benchmark/benchmark.json",
    "gate": "gate/gate.json",
}
"""Name of a link -> the evidence file that its number stands in."""


def cite(value: float | None, source: str, fmt: str) -> str:
    """A number as a link to its evidence; n/a where there is none.

    >>> cite(0.0425, "kpi", ".2%"), cite(None, "kpi", "d")
    ('[4.25%][kpi]', 'n/a')
    """
    return "n/a" if value is None else f"[{value:{fmt}}][{source}]"


def cite_interval(value: float | None, ends: Iterable[float] | None, source: str, fmt: str) -> str:
    """A number and its interval.

    >>> cite_interval(2.0, (1.5, 2.5), "kpi", ".1f")
    '[2.0][kpi] ([1.5][kpi] to [2.5][kpi])'
    """
    said = cite(value, source, fmt)
    if value is None or ends is None:
        return said
    low, high = ends
    return f"{said} ({cite(low, source, fmt)} to {cite(high, source, fmt)})"


def cited_names(sentence: str) -> str:
    """A sentence with the words that hold a digit as names.

    >>> cited_names("Engines that nobody executed: t4 fp16, nano.")
    'Engines that nobody executed: `t4` `fp16`, nano.'
    """
    return re.sub(r"[^\s,;:()]*\d[^\s,;:()]*(?<!\.)", r"`\g<0>`", sentence)


def citation_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def evidence_table(folders: Mapping[str, Path]) -> str:
    """The evidence files and their digests, as ``check_card`` reads them."""
    rows = [
        (f"`{path}`", f"`{digest_file(evidence_file(folders, path))}`") for path in SOURCES.values()
    ]
    return citation_table(("file", "`SHA-256`"), rows)


def check_card(card: str, folders: Mapping[str, Path]) -> None:
    """Check that each evidence file is the very one whose numbers the card holds.

    Args:
        folders: stage -> its finished folder.

    Raises:
        InputError: naming the first file that the card has another digest of, or none.
    """
    told = dict(re.findall(r"^\| `([^`]+)` \| `([0-9a-f]{64})` \|$", card, re.MULTILINE))
    for path in SOURCES.values():
        file = evidence_file(folders, path)
        if digest_file(file) != told.get(path):
            raise InputError(f"{file}: not the one of the model card; run stage report again")


def evidence_file(folders: Mapping[str, Path], path: str) -> Path:
    """Where the evidence file ``stage/file`` lies."""
    stage, _, file = path.partition("/")
    return folders[stage] / file
