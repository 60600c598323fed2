"""Sections ``evaluate`` and ``gate``: what is measured of a model, and what it must reach."""

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
"""A metric of which less is better, so that a loss to the champion is a rise."""
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
    """Drawn from the judged faces, evenly over people; 0: not measured."""
    levels: dict[CorruptionName, tuple[PositiveFloat, ...]]


class TemporalParams(Section):
    faces: NonNegativeInt
    """Stills that are moved, where the set has no sequences; 0: not measured."""
    frames: Annotated[int, Field(ge=2)]
    shift_px: NonNegativeFloat
    noise: NonNegativeFloat


class EvaluateParams(Section):
    batch_size: PositiveInt
    regions: dict[Name, tuple[PositiveInt, ...]]
    """Region -> keypoint numbers as in the label files, from 1; in YAML also spans as 37-42."""
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
            region: [k for one in keypoints for k in _span(one)]
            if isinstance(keypoints, list | tuple)
            else keypoints
            for region, keypoints in regions.items()
        }


def _span(one: Any) -> Iterable[Any]:
    """What a span says, or the value itself: ``"37-39"`` -> 37, 38, 39."""
    span = _SPAN.fullmatch(one) if isinstance(one, str) else None
    return range(int(span[1]), int(span[2]) + 1) if span else (one,)


class ComparisonParams(Section):
    margin: PositiveFloat
    """Largest loss to the champion, of the champion's error, that the interval may reach."""
    slice_margin: PositiveFloat
    metrics: tuple[ErrorName, ...]
    slices: dict[str, tuple[Name, ...]]
    """Data set -> attributes on whose every slice the margin must hold; ``other`` as above."""


class GateParams(Section):
    champion: str | None
    """What is deployed now: ``auto`` (what the release pointer names), a bundle's folder,
    ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``; null: a first release."""
    thresholds: dict[str, dict[str, PositiveFloat]]
    """Data set (``other``: any not named) -> metric of the KPI report -> largest value to pass."""
    min_faces: PositiveInt
    min_subjects: PositiveInt
    comparison: ComparisonParams
