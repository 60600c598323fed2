"""YAML trees: read and write a file of sections, and merge one tree into another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fpenet.core.errors import InputError

# libyaml's loader, ten times as fast, where PyYAML has it.
_SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in ``path``.

    Raises:
        InputError: no such file, not YAML, or not a mapping.
    """
    try:
        tree = _SAFE_LOADER(path.read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path}: is {brief(tree)}; it must be a mapping of sections")
    return tree


def write_yaml(tree: Mapping[str, Any], title: str, path: Path) -> None:
    """Write ``tree`` below a comment line, in the format of the files in ``presets/``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(dict(tree), sort_keys=False)
    path.write_text(f"# {title}\n{text}", encoding="utf-8")


def overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with its leaves replaced by those of ``over``; a list is a leaf.

    >>> overlay({"a": {"b": 1, "c": 2}}, {"a": {"c": [3]}})
    {'a': {'b': 1, 'c': [3]}}
    """
    merged = dict(base)
    for key, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
        merged[key] = overlay(base[key], value) if nested else value
    return merged


def nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """The tree of dotted keys.

    >>> nested({"train.epochs": 3, "train.augment.zoom": 0.2})
    {'train': {'epochs': 3, 'augment': {'zoom': 0.2}}}
    """
    tree: dict[str, Any] = {}
    for key, value in dotted.items():
        partial: Any = value
        for part in reversed(key.split(".")):
            partial = {part: partial}
        tree = overlay(tree, partial)
    return tree


def with_home(value: Any) -> Any:
    """A value or tree, in which a text that begins with ``~/`` begins with the home folder.

    >>> with_home({"labels": "faces/~"}), with_home(["~/faces"]) == [str(Path.home() / "faces")]
    ({'labels': 'faces/~'}, True)
    """
    if isinstance(value, Mapping):
        return {key: with_home(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [with_home(inner) for inner in value]
    if isinstance(value, Path) or (isinstance(value, str) and value.startswith("~/")):
        return type(value)(Path(value).expanduser())
    return value


def brief(value: Any) -> str:
    """``repr`` of ``value``, shortened to one line, for error messages."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
