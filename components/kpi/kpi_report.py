"""KpiReport: everything that was measured of one model on one set of faces; ``kpi.json``."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Numbers = Mapping[str, float | None]
Intervals = Mapping[str, Sequence[float] | None]


@dataclass(frozen=True, slots=True)
class KpiReport:
    """What a model scored. None is "n/a": nothing could be measured.

    Attributes:
        part: the part of the data set that was judged.
        faces: SHA-256 of the judged faces (see ``predictions``).
        normaliser: the one that the failure rates, the areas, PCK and the curve are of.
        normalisers: name -> what the NME is divided by, in words.
        regions: region -> its 0-based keypoints.
        metrics: ``<unit>/<region>`` -> value. Units: image_px and crop_px, mean error in pixels of
            the source image and of the 80x80 crop (FACTS 4: per-point means over faces, then their
            plain mean), tight/image_px on the original's crop, nme_<normaliser>; each again as
            ``<unit>_visible``, of visible points alone. Of the headline normaliser:
            failure_rate_<normaliser>_8 and _10, share of faces whose NME is above so many percent;
            auc_<normaliser>_8 and _10, area under the cumulative curve up to there, 1 at best;
            pck_<normaliser>_5 and _10, share of points nearer than so many percent.
        intervals: the same names -> [low, high]; ``interval`` says how.
        per_point: image_px, crop_px, tight/image_px (and _visible) -> one value a keypoint.
        visible_samples: number of judged faces on which each keypoint is visible.
        curve: ``nme`` -> errors, ``share`` -> region -> share of faces at or below each.
        slices: rows of attribute, value, num_faces, num_subjects, metrics, intervals, too_few.
        slices_left_out: attribute -> why it is none.
        confidence: what it tells (see ``describe_confidence``).
        robustness: curves of corruption (see ``robustness``); None where it was not asked for.
        temporal: how still the points are (see ``temporal``); None where it was not asked for.
        assumed: what was taken for granted of a model that is not ours, in words.
    """

    dataset: str
    part: str
    faces: str
    num_faces: int
    num_subjects: int
    num_keypoints: int
    normaliser: str
    normalisers: Mapping[str, str]
    regions: Mapping[str, list[int]]
    metrics: Numbers
    intervals: Intervals
    interval: Mapping[str, Any]
    per_point: Mapping[str, list[float | None]]
    visible_samples: list[int]
    curve: Mapping[str, Any]
    slices: Sequence[Mapping[str, Any]]
    slices_left_out: Mapping[str, str]
    confidence: Mapping[str, Any] = field(default_factory=dict)
    robustness: Mapping[str, Any] | None = None
    temporal: Mapping[str, Any] | None = None
    assumed: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        text = json.dumps(self.to_json(), indent=1, sort_keys=True, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")


def read_kpi(path: Path) -> KpiReport:
    """The report that ``save`` wrote.

    Raises:
        ValueError: naming the file: absent, or not a report.
    """
    try:
        return KpiReport(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a KPI report: {error}") from None
