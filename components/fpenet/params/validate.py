"""Section validate: limits that a labelled face must meet, and the severity of each violation."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator

from fpenet.params.registered import Registered
from fpenet.params.section import Fraction, Section

CHECK_NAMES = Registered(
    (
        "fpenet.data.checks.labels:LABEL_CHECKS",
        "fpenet.data.checks:COUNT_CHECKS",
        "fpenet.data.checks:SET_CHECKS",
        "fpenet.data.checks.labelled_set:WHOLE_SET_CHECKS",
    )
)
CheckName = Annotated[str, CHECK_NAMES]
Severity = Literal["block", "drop", "warn"]


class ModelParams(Section):
    """Limits of the outlier checks; each in the unit that its check reports."""

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
    severity: dict[CheckName, Severity]
    """Check -> severity of its findings; every check must be listed."""

    @field_validator("severity")
    @classmethod
    def _every_check_is_named(cls, severity: dict[str, str]) -> dict[str, str]:
        missing = [name for name in CHECK_NAMES.names if name not in severity]
        if missing:
            raise ValueError(f"must name every check; {', '.join(missing)} missing")
        return severity
