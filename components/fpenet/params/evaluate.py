"""Sections ``evaluate`` and ``gate``: the metrics of a model and their thresholds."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
)
from pydantic_core import PydanticCustomError, core_schema

from fpenet.params.registered import Registered, registry_names
from fpenet.params.section import Name, Section

CorruptionName = Annotated[str, Registered(("fpenet.kpi.robustness:CORRUPTIONS",))]
_ERRORS = "fpenet.kpi.metric_table:ERRORS"
_NORMALISERS = "fpenet.kpi.normalisers:NORMALISERS"


@dataclass(frozen=True)
class RegisteredMetric(Registered):
    """Annotation of ``<unit>/<region>`` whose unit must be in one of the registries.

    ``{normaliser}`` in a registered unit stands for each name of NORMALISERS; a unit of ERRORS also
    exists as ``<unit>_visible``. The region belongs to the keypoint scheme of the labels, which is
    not known here.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """All allowed units."""
        units: list[str] = []
        for registry in self.registries:
            suffixes = ("", "_visible") if registry == _ERRORS else ("",)
            for unit in registry_names(registry):
                lengths = registry_names(_NORMALISERS) if "{normaliser}" in unit else ("",)
                full = [unit.format(normaliser=length) for length in lengths]
                units += [name + suffix for name in full for suffix in suffixes]
        return tuple(units)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        pattern = f"^({'|'.join(map(re.escape, self.names))})/{_REGION.pattern}$"
        return {**handler(schema), "pattern": pattern}

    def _check(self, name: str) -> str:
        unit, _, region = name.rpartition("/")
        if unit not in self.names or not _REGION.fullmatch(region):
            expected = {"units": self._in_words()}
            message = "Input should be UNIT/REGION, where UNIT is {units}"
            raise PydanticCustomError("registered", message, expected)
        return name


ErrorName = Annotated[str, RegisteredMetric((_ERRORS,))]
"""An error of the KPI report; a regression against the champion is an increase."""
LimitedName = Annotated[str, RegisteredMetric((_ERRORS, "fpenet.kpi.metric_table:FAILURE_RATES"))]
"""A metric of the KPI report for which lower is better, so that it may have an upper limit."""
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
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
    thresholds: dict[str, dict[LimitedName, PositiveFloat]]
    """Data set (``other``: every data set without a key) -> metric of the KPI report -> upper
    limit."""
    min_faces: PositiveInt
    min_subjects: PositiveInt
    comparison: ComparisonParams
