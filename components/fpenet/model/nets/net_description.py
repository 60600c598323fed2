"""``model.json`` of a trained, imported or exported net: its architecture and how to use it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fpenet.core.errors import InputError
from fpenet.core.records import FileRecord

NET_FILE = "model.json"


@dataclass(frozen=True, slots=True)
class NetDescription(FileRecord):
    """``model.json``.

    Attributes:
        net: a name of ``NETS``.
        dataset, box_scale: of its training: the name of the data set, and the side of the crop over
            the longer side of the face box; None for an import.
        confidence: ``learned`` or ``peak``.
        confidence_px: see ``describe_confidence``.
        regions: region -> its 0-based keypoints; None: those of the scheme with as many keypoints.
        parameters: their number; None if not counted.
    """

    net: str
    num_keypoints: int
    dataset: str | None = None
    box_scale: float | None = None
    confidence: Literal["learned", "peak"] = "peak"
    confidence_px: float | None = None
    regions: Mapping[str, tuple[int, ...]] | None = None
    parameters: int | None = None

    def trained_on(self, source: Path | str) -> tuple[str, float]:
        """``dataset`` and ``box_scale``; ``source`` is the name for error messages.

        Raises:
            InputError: the net was imported and not trained here.
        """
        if self.dataset is None or self.box_scale is None:
            raise InputError(f"{source}: dataset and box_scale are null: train from this import")
        return self.dataset, self.box_scale
