"""The typed tree of a scheme file: keypoints of one's own, what they are and where on the head."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from fpenet.core.errors import InputError
from fpenet.core.yaml_tree import brief, read_yaml
from fpenet.params.section import Name, Section

Vertex = Annotated[int, Field(ge=0)]


class KeypointParams(Section):
    name: str
    vertices: Annotated[dict[Vertex, PositiveFloat], Field(min_length=1)] | None = None
    """Vertex of the mean head (``fpenet synth --mesh``) -> its share of the point; None: the scheme
    says nothing of the head, and cannot be rendered."""


class SchemeParams(Section):
    name: Name
    keypoints: Annotated[tuple[KeypointParams, ...], Field(min_length=1)]
    """In their order; all numbers below count them from 1."""
    mirror: tuple[tuple[PositiveInt, PositiveInt], ...] | None = None
    """Pairs that change places in a mirror; one that is in no pair is its own partner. None: left
    and right are not known."""
    regions: dict[Name, Annotated[tuple[PositiveInt, ...], Field(min_length=1)]] = Field({})
    eye_corners: tuple[PositiveInt, PositiveInt] | None = None
    """The outer ones, whose distance errors are divided by; None: the face box is."""

    @model_validator(mode="after")
    def _numbers_are_keypoints(self) -> "SchemeParams":
        pairs = [number for pair in self.mirror or () for number in pair]
        said = {"mirror": pairs, "eye_corners": self.eye_corners or ()}
        for key, numbers in {
            **said,
            **{f"regions.{k}": v for k, v in self.regions.items()},
        }.items():
            odd = [number for number in numbers if number > len(self.keypoints)]
            if odd or len(set(numbers)) != len(numbers):
                what = f"{odd[0]} is no keypoint" if odd else "a keypoint is there twice"
                raise InputError(f"{key}: {what}; choose of 1 to {len(self.keypoints)}")
        return self


def read_scheme(path: Path) -> SchemeParams:
    """The scheme in a YAML or JSON file.

    Raises:
        InputError: naming file, key, value and what is allowed.
    """
    tree = read_yaml(path)
    try:
        return SchemeParams.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "scheme"
        said = str(first["msg"]).removeprefix("Value error, ")
        where = f"{key} is {brief(first['input'])}: " if first["loc"] else ""
        raise InputError(f"{path}: {where}{said}") from None
