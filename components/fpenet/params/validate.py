"""Section validate: what a labelled face must fulfil, and what follows where it does not."""

from typing import Annotated, Literal, get_args

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator

from fpenet.params.section import Fraction, Section

CheckName = Literal[
    "placeholder",
    "far point",
    "collapsed",
    "coincident points",
    "occluded",
    "face cut off",
    "points outside",
    "outside face box",
    "keypoint count",
    "repeated",
    "second label",
    "labels disagree",
    "swapped",
    "shifted",
    "unlike shape",
    "unlike picture",
    "shared picture",
    "balance",
]
Severity = Literal["block", "drop", "warn"]


class ModelParams(Section):
    """When a face is unlike the other faces; each limit in the unit that its check reports."""

    min_faces: PositiveInt
    max_shape_deviations: PositiveFloat
    max_shift: PositiveFloat
    max_picture_deviations: PositiveFloat
    min_swap_gain: Annotated[float, Field(ge=1.0)]


class ValidateParams(Section):
    max_occlusion_level: Annotated[int, Field(ge=0, le=9)]
    min_visible_fraction: Fraction
    max_points_outside_fraction: Fraction
    max_points_outside_box_fraction: Fraction
    face_box_margin: NonNegativeFloat
    max_coincident_fraction: Fraction
    max_rejected_fraction: Fraction
    max_image_megapixels: PositiveFloat
    min_faces: PositiveInt
    max_labeller_distance: PositiveFloat
    max_near_duplicate_bits: Annotated[int, Field(ge=0, le=15)]
    min_class_fraction: Fraction
    models: ModelParams
    report_faces: PositiveInt
    severity: dict[str, Severity]
    """What a finding of each check means: a row for every CheckName, and for nothing else."""

    @field_validator("severity")
    @classmethod
    def _every_check_is_named(cls, severity: dict[str, str]) -> dict[str, str]:
        odd = sorted(set(get_args(CheckName)) ^ set(severity))
        if odd:
            raise ValueError(f"must name every check and nothing else, but see {', '.join(odd)}")
        return severity
