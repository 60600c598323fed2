"""Base class and shared types of the sections of params.yaml, and the text of their errors."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fpenet.core.yaml_tree import brief

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
"""A name that is used in a path or a command: letters, digits and ``._-`` only."""


class Section(BaseModel):
    """One section of params.yaml: immutable; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def problems_of(error: ValidationError, tree: type[Section]) -> str:
    """What is wrong with a tree, on one line: each key, its value and what is allowed.

    Args:
        tree: the class that the tree was read as.
    """
    return "; ".join(_problem(problem, tree) for problem in error.errors())


def _problem(problem: Any, tree: type[Section]) -> str:
    loc = [str(part) for part in problem["loc"]]
    key, message = ".".join(loc), str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"{key} is missing"
    if problem["type"] == "extra_forbidden":
        return f"{key} is {brief(problem['input'])}: no such key{_hint(loc, tree)}"
    if not loc:
        return message
    if isinstance(problem["input"], Mapping) and message.split(" is ")[0] in problem["input"]:
        return f"{key}.{message}"  # it names one of the section's own keys
    return f"{key} is {brief(problem['input'])}: {message}"


def _hint(loc: list[str], tree: Any) -> str:
    fields: dict[str, Any] = {}
    for part in loc:
        fields = {
            field.alias or name: field for name, field in getattr(tree, "model_fields", {}).items()
        }
        tree = fields[part].annotation if part in fields else None
    near = get_close_matches(loc[-1], fields, n=1)
    return f"; did you mean {near[0]}?" if near else f"; choose one of {sorted(fields)}"
