"""Rejected images and faces: the exception and the record with the reason."""

from dataclasses import dataclass

from fpenet.core.errors import InputError


class Refusal(InputError):
    """An image or a label cannot be used; the rest of the set is processed.

    Attributes:
        reason: one or two words, by which rejected faces are counted.
        detail: the problem, with values.
        broken: whether it counts against ``validate.max_rejected_fraction``; False for a correct
            label that the pipeline cannot use, e.g. a face without keypoints.
    """

    def __init__(self, reason: str, detail: str, broken: bool = True) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.broken = broken


@dataclass(frozen=True, slots=True)
class Rejected:
    """One face that is not used.

    Attributes:
        image: its name in the labels.
        face: its number among all faces of the set, in label order, from 0.
        reason, detail, broken: see ``Refusal``; ``detail`` names file and row.
    """

    image: str
    face: int
    reason: str
    detail: str
    broken: bool = True
