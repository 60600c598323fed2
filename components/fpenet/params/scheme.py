"""The typed tree of a scheme file: user-defined keypoints and their positions on the head mesh."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from fpenet.core.errors import InputError
from fpenet.core.yaml_tree import read_yaml
from fpenet.params.section import Name, Section, problems_of

Vertex = Annotated[int, Field(ge=0)]


class KeypointParams(Section):
    name: str
    vertices: Annotated[dict[Vertex, PositiveFloat], Field(min_length=1)] | None = None
    """Vertex of the mean head (``fpenet synth --mesh``) -> its weight in the point; None: the
    scheme has no positions on the head and cannot be rendered."""


class SchemeParams(Section):
    name: Name
    keypoints: Annotated[tuple[KeypointParams, ...], Field(min_length=1)]
    """In label order; the fields below refer to them by number, from 1."""
    mirror: tuple[tuple[PositiveInt, PositiveInt], ...] | None = None
    """Pairs that a horizontal flip exchanges; a keypoint in no pair is its own mirror partner.
    None: left and right are not known."""
    regions: dict[Name, Annotated[tuple[PositiveInt, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    eye_corners: tuple[PositiveInt, PositiveInt] | None = None
    """The outer eye corners; errors are divided by their distance. None: divided by the size of the
    face box."""
    picture: Path | None = Field(default=None, exclude=True)
    """An image of a face with the numbers of the keypoints, for the guideline of labellers; in a
    file, its path is relative to the file."""

    @model_validator(mode="after")
    def _numbers_are_keypoints(self) -> "SchemeParams":
        pairs = [number for pair in self.mirror or () for number in pair]
        numbers_of = {
            "mirror": pairs,
            "eye_corners": self.eye_corners or (),
            **{f"regions.{k}": v for k, v in self.regions.items()},
        }
        for key, numbers in numbers_of.items():
            unknown = [number for number in numbers if number > len(self.keypoints)]
            if unknown or len(set(numbers)) != len(numbers):
                problem = f"{unknown[0]} is no keypoint" if unknown else "a keypoint is repeated"
                raise InputError(f"{key}: {problem}; must be 1 to {len(self.keypoints)}")
        return self


def read_scheme(path: Path) -> SchemeParams:
    """The scheme in a YAML or JSON file.

    Raises:
        InputError: names file, key, value and what is allowed.
    """
    tree = read_yaml(path)
    try:
        scheme = SchemeParams.model_validate(tree)
    except ValidationError as error:
        raise InputError(f"{path}: {problems_of(error, SchemeParams)}") from None
    if scheme.picture is None:
        return scheme
    picture = path.parent / scheme.picture
    if not picture.is_file():
        raise InputError(f"{path}: picture is {scheme.picture}; {picture} does not exist")
    return scheme.model_copy(update={"picture": picture})
