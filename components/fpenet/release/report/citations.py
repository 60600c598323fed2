"""Citations in Markdown: every number is a link to the evidence file that contains it."""

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
"""Name of a citation -> the evidence file that contains its number."""


def cite(value: float | None, source: str, fmt: str) -> str:
    """A number as a link to its evidence file; n/a for None.

    >>> cite(0.0425, "kpi", ".2%"), cite(None, "kpi", "d")
    ('[4.25%][kpi]', 'n/a')
    """
    return "n/a" if value is None else f"[{value:{fmt}}][{source}]"


def cite_interval(value: float | None, ends: Iterable[float] | None, source: str, fmt: str) -> str:
    """A number and its interval, each as a link to the evidence file.

    >>> cite_interval(2.0, (1.5, 2.5), "kpi", ".1f")
    '[2.0][kpi] ([1.5][kpi] to [2.5][kpi])'
    """
    number = cite(value, source, fmt)
    if value is None or ends is None:
        return number
    low, high = ends
    return f"{number} ({cite(low, source, fmt)} to {cite(high, source, fmt)})"


def cited_names(sentence: str) -> str:
    """A sentence in which each word with a digit is a code span: it is a name, not a number.

    >>> cited_names("Engines that did not run: t4 fp16, nano.")
    'Engines that did not run: `t4` `fp16`, nano.'
    """
    return re.sub(r"[^\s,;:()]*\d[^\s,;:()]*(?<!\.)", r"`\g<0>`", sentence)


def citation_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def evidence_table(folders: Mapping[str, Path]) -> str:
    """The table of the evidence files and their digests, which ``check_card`` reads."""
    rows = [
        (f"`{path}`", f"`{digest_file(evidence_file(folders, path))}`") for path in SOURCES.values()
    ]
    return citation_table(("file", "`SHA-256`"), rows)


def check_card(card: str, folders: Mapping[str, Path]) -> None:
    """Check that each evidence file has the digest in the model card.

    Args:
        folders: stage -> its finished folder.

    Raises:
        InputError: the card has no digest or another digest of a file; the message names the file.
    """
    cited = dict(re.findall(r"^\| `([^`]+)` \| `([0-9a-f]{64})` \|$", card, re.MULTILINE))
    for path in SOURCES.values():
        file = evidence_file(folders, path)
        if digest_file(file) != cited.get(path):
            raise InputError(
                f"{file}: not the file that the model card cites; run stage report again"
            )


def evidence_file(folders: Mapping[str, Path], path: str) -> Path:
    """The path of the evidence file ``stage/file``."""
    stage, _, file = path.partition("/")
    return folders[stage] / file
