"""The section ``train`` of params.yaml."""

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from fpenet.params.registered import Registered
from fpenet.params.section import Fraction, Section

NetName = Annotated[str, Registered(("fpenet.model.nets.recombinator:NETS",))]
LossName = Annotated[str, Registered(("fpenet.model.losses:LOSSES",))]
HeatmapLossName = Annotated[str, Registered(("fpenet.model.losses:HEATMAP_LOSSES",))]


class AugmentParams(Section):
    flip_probability: Fraction
    rotate_deg: Annotated[float, Field(ge=0.0, le=180.0)]
    zoom: Annotated[float, Field(ge=0.0, lt=1.0)]
    shift_px: NonNegativeFloat
    gamma: Annotated[float, Field(ge=0.0, lt=1.0)]
    contrast: Annotated[float, Field(ge=0.0, lt=1.0)]
    shade: NonNegativeFloat
    noise: NonNegativeFloat
    blur_probability: Fraction
    blur_px: NonNegativeFloat
    sharpen_probability: Fraction
    sharpen: NonNegativeFloat
    low_resolution_probability: Fraction
    low_resolution_px: Annotated[int, Field(ge=10, le=80)]
    patch_probability: Fraction
    patch_px: tuple[PositiveInt, PositiveInt]
    patch_hides: bool

    @model_validator(mode="after")
    def _blur_and_sharpen_exclude_each_other(self) -> "AugmentParams":
        total = self.blur_probability + self.sharpen_probability
        if total > 1.0:
            raise ValueError(
                f"blur_probability and sharpen_probability sum to {total:g}; at most 1, since a"
                " face is either blurred or sharpened"
            )
        return self


class TrainParams(Section):
    net: NetName
    start_from: str | None
    new_head: bool
    teacher: str | None
    teacher_weight: NonNegativeFloat
    unlabelled: str | None
    loss: LossName
    wing_w: PositiveFloat
    wing_epsilon: PositiveFloat
    wing_inner: PositiveFloat
    heatmap_loss: HeatmapLossName
    heatmap_weight: NonNegativeFloat
    heatmap_sigma_px: PositiveFloat
    elt_weight: NonNegativeFloat
    confidence_weight: NonNegativeFloat
    confidence_px: PositiveFloat
    region_weights: dict[Literal["face", "eyes", "mouth", "pupil"], NonNegativeFloat] | None
    mask_hidden: bool
    batch_size: PositiveInt
    epochs: PositiveInt
    max_minutes: PositiveFloat
    learning_rate: PositiveFloat
    min_learning_rate: PositiveFloat
    warmup_fraction: Fraction
    flat_fraction: Fraction
    weak_fraction: Fraction
    weak_strength: Fraction
    weight_decay: NonNegativeFloat
    gradient_clip: PositiveFloat
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)]
    max_skipped_steps: NonNegativeInt
    checkpoint_every_epochs: PositiveInt
    seed: NonNegativeInt
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "fp32", "bf16"]
    compile: bool
    augment: AugmentParams

    @model_validator(mode="after")
    def _unlabelled_faces_have_a_loss(self) -> "TrainParams":
        if self.unlabelled is not None and self.elt_weight == 0 and self.teacher is None:
            raise ValueError(
                "train.unlabelled has no effect without train.elt_weight above 0 or a train.teacher"
            )
        return self

    @field_validator("region_weights")
    @classmethod
    def _weights_sum_to_one(cls, weights: dict[str, float] | None) -> dict[str, float] | None:
        if weights is not None and abs(sum(weights.values()) - 1.0) > 1e-6:
            raise ValueError(f"must sum to 1 but sums to {sum(weights.values()):g}")
        return weights
