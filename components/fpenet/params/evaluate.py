"""Sections ``evaluate`` and ``gate``: the metrics of a model and their thresholds."""

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

from fpenet.params.registered import Registered
from fpenet.params.section import Name, Section

CorruptionName = Annotated[str, Registered(("fpenet.kpi.robustness:CORRUPTIONS",))]
ErrorName = Annotated[
    str, Field(pattern=r"^(image_px|crop_px|tight/image_px|nme_[a-z]+)(_visible)?/[\w.-]+$")
]
"""A metric for which lower is better: a regression against the champion is an increase."""
_SPAN = re.compile(r"(\d+)-(\d+)")


class IntervalParams(Section):
    resamples: Annotated[int, Field(ge=1000)]
    level: Annotated[float, Field(ge=0.5, lt=1.0)]
    seed: NonNegativeInt


class SliceParams(Section):
    min_faces: PositiveInt
    min_subjects: Annotated[int, Field(ge=2)]


class RobustnessParams(Section):
    faces: NonNegativeInt
    """Number of evaluation faces, sampled evenly over subjects; 0: not measured."""
    levels: dict[CorruptionName, tuple[PositiveFloat, ...]]


class TemporalParams(Section):
    faces: NonNegativeInt
    """Still images that are shifted, if the set has no sequences; 0: not measured."""
    frames: Annotated[int, Field(ge=2)]
    shift_px: NonNegativeFloat
    noise: NonNegativeFloat


class EvaluateParams(Section):
    batch_size: PositiveInt
    regions: dict[Name, tuple[PositiveInt, ...]]
    """Region -> keypoint numbers as in the label files, from 1; YAML also allows spans: 37-42."""
    interval: IntervalParams
    slices: SliceParams
    robustness: RobustnessParams
    temporal: TemporalParams

    @field_validator("regions", mode="before")
    @classmethod
    def _spans_are_numbers(cls, regions: Any) -> Any:
        if not isinstance(regions, dict):
            return regions
        return {
            region: [k for entry in keypoints for k in _span(entry)]
            if isinstance(keypoints, list | tuple)
            else keypoints
            for region, keypoints in regions.items()
        }


def _span(entry: Any) -> Iterable[Any]:
    """The numbers of a span, ``"37-39"`` -> 37, 38, 39; any other value is returned unchanged."""
    span = _SPAN.fullmatch(entry) if isinstance(entry, str) else None
    return range(int(span[1]), int(span[2]) + 1) if span else (entry,)


class ComparisonParams(Section):
    margin: PositiveFloat
    """Largest relative increase of the error over the champion's that the interval may reach."""
    slice_margin: PositiveFloat
    metrics: tuple[ErrorName, ...]
    slices: dict[str, tuple[Name, ...]]
    """Data set (``other``: every data set without a key) -> attributes; the margin applies to each
    slice."""


class GateParams(Section):
    champion: str | None
    """The deployed model: ``auto`` (the release pointer), a bundle's folder,
    ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``; null: a first release."""
    thresholds: dict[str, dict[str, PositiveFloat]]
    """Data set (``other``: every data set without a key) -> metric of the KPI report -> upper
    limit."""
    min_faces: PositiveInt
    min_subjects: PositiveInt
    comparison: ComparisonParams
