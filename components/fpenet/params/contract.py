"""The typed tree of a contract file: how a landmark model in an ONNX file is called.

docs/contracts.md has the keys and full examples.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, ValidationError, model_validator

from fpenet.core.errors import InputError
from fpenet.core.yaml_tree import brief, read_yaml
from fpenet.params.section import Section, problems_of

LARGEST_INPUT_PX = 1024
_Side = Annotated[int, Field(ge=8, le=LARGEST_INPUT_PX)]
_Number = int | float


def _one_or_each(value: Any) -> Any:
    """A single number as a list of one, which stands for every channel."""
    return [value] if isinstance(value, _Number) and not isinstance(value, bool) else value


PerChannel = Annotated[
    tuple[float, ...], Field(min_length=1, max_length=3), BeforeValidator(_one_or_each)
]
KeypointMap = str | tuple[int | None, ...] | dict[int, int] | None


def _keypoint_map(value: Any) -> Any:
    """A keypoint map whose numbers are whole and from 1 on; a name is checked by its registry."""
    numbers = value
    if isinstance(value, Mapping):
        numbers = [*value.keys(), *value.values()]
    if value is None or isinstance(value, str):
        return value
    if not isinstance(numbers, list | tuple) or not all(
        n is None or (type(n) is int and n >= 1) for n in numbers
    ):
        raise ValueError(
            "must be the name of a map (98->68), a list of the model's point for each point of the"
            " labels, or a mapping of points of the labels to the model's; numbers count from 1"
        )
    return dict(value) if isinstance(value, Mapping) else tuple(value)


class ContractInput(Section):
    """The input tensor; a level of 0 to 255 becomes (level - mean) * scale."""

    name: str | None = None
    """None: the only input."""
    size: tuple[_Side, _Side]
    """Width and height of the crop in pixels."""
    channels: Literal[1, 3]
    order: Literal["rgb", "bgr"] | None = None
    """Of three channels; None for a grey crop."""
    layout: Literal["nchw", "nhwc"]
    mean: PerChannel
    """In grey levels of 0 to 255: one number, or one for each channel in ``order``."""
    scale: PerChannel

    @model_validator(mode="after")
    def _channels_agree(self) -> "ContractInput":
        if (self.order is None) != (self.channels == 1):
            expected = "null" if self.channels == 1 else "rgb or bgr"
            raise InputError(f"order is {self.order}; with channels {self.channels}: {expected}")
        for key in ("mean", "scale"):
            values = getattr(self, key)
            if len(values) not in (1, self.channels):
                raise InputError(
                    f"{key} is {brief(list(values))}; must be one number or {self.channels}"
                )
        if 0.0 in self.scale:
            raise InputError(f"scale is {brief(list(self.scale))}; must not be 0")
        return self


class ContractOutput(Section):
    """The output tensors."""

    points: str | None = None
    """Name of the output with the points or heat maps; None: the only output."""
    form: Literal["flat", "points", "heatmaps", "heatmaps_last"]
    """flat: (N, 2K), x1, y1, x2, ...; points: (N, K, 2), further columns are ignored; heatmaps:
    (N, K, h, w); heatmaps_last: (N, h, w, K)."""
    units: Literal["pixels", "unit", "centred"] | None = None
    """Of the crop: pixels, 0 to 1, or -1 to 1; None for heat maps."""
    origin: Literal["centre", "corner"] = "centre"
    """Where coordinate 0 is: at the centre of the first pixel, or at its outer corner."""
    confidence: str | None = None
    """Name of an output (N, K), larger for a point that is more certain; None: there is none."""

    @model_validator(mode="after")
    def _units_fit_the_form(self) -> "ContractOutput":
        if (self.units is None) != self.form.startswith("heatmaps"):
            expected = "null" if self.units else "pixels, unit or centred"
            raise InputError(f"units is {self.units}; with form {self.form}: {expected}")
        return self


class ContractParams(Section):
    input: ContractInput
    crop_scale: PositiveFloat = Field(le=10.0)
    """Side of the crop divided by the longer side of the face box."""
    output: ContractOutput
    keypoints: Annotated[KeypointMap, BeforeValidator(_keypoint_map)] = None
    """The model's point for each point of the labels; None: both have the same numbers."""


def read_contract(path: Path) -> ContractParams:
    """The contract in a YAML file.

    Raises:
        InputError: names file, key, value and what is allowed.
    """
    tree = read_yaml(path)
    try:
        return ContractParams.model_validate(tree)
    except ValidationError as error:
        problems = problems_of(error, ContractParams)
        raise InputError(f"{path}: {problems} (docs/contracts.md)") from None
