"""The decision on a promotion request, and its text on the version's page in MLflow."""

import re
from dataclasses import dataclass

from fpenet.core.records import Identifier
from fpenet.release.evidence import PROMOTION_TAG
from fpenet.release.registry import versions
from fpenet.release.registry.versions import RegisteredVersion
from fpenet.release.store.pointer import ENTRY_TAG, LedgerEntry, entry_json

_LONGEST_TAG = 5000


class PromotionOutcome(Identifier):
    """The result of a promotion request; ``superseded``: another run decides it."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    SUPERSEDED = "superseded"


_WORDS = {
    PromotionOutcome.PROMOTED: "Made deployable",
    PromotionOutcome.REFUSED: "Promotion refused",
}
_DECISION_LINE = re.compile(rf"\A({'|'.join(_WORDS.values())})[^\n]*\n\n?")


@dataclass(frozen=True, slots=True)
class PromotionDecision:
    """The decision on one promotion request.

    Attributes:
        requested: the requested version, to which the alias pointed; None: the alias was removed.
        name: of the requested version, e.g. ``deployable_v3.0``.
        deployable: the version that is deployable after the decision.
        reasons: the reasons of a refusal.
        sequence: number of the ledger entry; None: nothing was changed.
    """

    outcome: PromotionOutcome
    model: str
    requested: str | None
    name: str | None
    deployable: str | None
    reasons: tuple[str, ...]
    sequence: int | None

    def __str__(self) -> str:
        words = (
            f"{self.model} version {self.requested}"
            if self.requested
            else f"{self.model}: no version"
        )
        named = f" ({self.name})" if self.name else ""
        why = f": {'; '.join(self.reasons)}" if self.reasons else ""
        return f"{words}{named} {self.outcome}{why}"


def write_on_page(
    decision: PromotionDecision, registered: RegisteredVersion, entry: LedgerEntry
) -> None:
    """Write the decision on a version's page: the first line of its description, and a tag."""
    why = f": {'; '.join(decision.reasons)}" if decision.reasons else ""
    text = f"{decision.outcome} at {entry.when}, sequence {decision.sequence}{why}"
    description = with_decision(registered.description, decision, entry.when)
    versions.set_description(decision.model, registered.version, description)
    tags = {PROMOTION_TAG: text[:_LONGEST_TAG]}
    if decision.outcome is PromotionOutcome.PROMOTED:
        tags[ENTRY_TAG] = entry_json(entry)
    versions.tag_version(decision.model, registered.version, tags)


def with_decision(description: str, decision: PromotionDecision, when: str) -> str:
    """The description of a version with the decision as its first line.

    The line of an earlier decision is replaced.

    >>> why = ("too few", "too old")
    >>> refused = PromotionDecision(PromotionOutcome.REFUSED, "faces", "2", None, "1", why, 7)
    >>> print(with_decision("# Model card", refused, "2026-11-26T12:00:00+00:00"))
    Promotion refused: too few; too old (2026-11-26T12:00:00+00:00, sequence 7)
    <BLANKLINE>
    # Model card
    """
    reasons = "; ".join(" ".join(reason.split()) for reason in decision.reasons)
    text = f"{_WORDS[decision.outcome]}{': ' if reasons else ''}{reasons}"
    line = f"{text} ({when}, sequence {decision.sequence})"
    return f"{line}\n\n{_DECISION_LINE.sub('', description)}"
