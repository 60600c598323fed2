"""The answer to a promotion request, and how the page of the version in MLflow tells it."""

import re
from dataclasses import dataclass

from fpenet.core.records import Identifier
from fpenet.release.evidence import PROMOTION_TAG
from fpenet.release.registry import versions
from fpenet.release.registry.versions import RegisteredVersion
from fpenet.release.store.pointer import LINK_TAG, LedgerEntry, entry_json

_LONGEST_TAG = 5000


class PromotionOutcome(Identifier):
    """What became of a request; ``superseded``: another run answers it."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    SUPERSEDED = "superseded"


_WORDS = {
    PromotionOutcome.PROMOTED: "Made deployable",
    PromotionOutcome.REFUSED: "Promotion refused",
}
_ANSWER = re.compile(rf"\A({'|'.join(_WORDS.values())})[^\n]*\n\n?")


@dataclass(frozen=True, slots=True)
class PromotionDecision:
    """What became of one request.

    Attributes:
        asked: the version that the alias pointed to; None: the alias was removed.
        deployable: the version that is deployable now.
        reasons: why not.
        sequence: of the pointer's link that tells of it; None: nothing was changed.
    """

    action: PromotionOutcome
    model: str
    asked: str | None
    name: str | None
    deployable: str | None
    reasons: tuple[str, ...]
    sequence: int | None

    def __str__(self) -> str:
        words = f"{self.model} version {self.asked}" if self.asked else f"{self.model}: no version"
        named = f" ({self.name})" if self.name else ""
        why = f": {'; '.join(self.reasons)}" if self.reasons else ""
        return f"{words}{named} {self.action}{why}"


def write_on_page(answer: PromotionDecision, version: RegisteredVersion, link: LedgerEntry) -> None:
    """Write the answer on the page of a version, as its description's first lines and as a tag."""
    why = f": {'; '.join(answer.reasons)}" if answer.reasons else ""
    said = f"{answer.action} at {link.when}, sequence {answer.sequence}{why}"
    description = with_decision(version.description, answer, link.when)
    versions.set_description(answer.model, version.version, description)
    tags = {PROMOTION_TAG: said[:_LONGEST_TAG]}
    if answer.action is PromotionOutcome.PROMOTED:
        tags[LINK_TAG] = entry_json(link)
    versions.tag_version(answer.model, version.version, tags)


def with_decision(description: str, answer: PromotionDecision, when: str) -> str:
    """A version's description that begins with the latest answer, in place of one before.

    >>> why = ("too few", "too old")
    >>> refused = PromotionDecision(PromotionOutcome.REFUSED, "faces", "2", None, "1", why, 7)
    >>> print(with_decision("# Model card", refused, "2026-11-26T12:00:00+00:00"))
    Promotion refused: too few; too old (2026-11-26T12:00:00+00:00, sequence 7)
    <BLANKLINE>
    # Model card
    """
    reasons = "; ".join(" ".join(reason.split()) for reason in answer.reasons)
    said = f"{_WORDS[answer.action]}{': ' if reasons else ''}{reasons}"
    line = f"{said} ({when}, sequence {answer.sequence})"
    return f"{line}\n\n{_ANSWER.sub('', description)}"
