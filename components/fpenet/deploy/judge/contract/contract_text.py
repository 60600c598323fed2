"""A contract as the lines of a YAML file, with a comment at each key that may be wrong."""

import json
from collections.abc import Mapping
from typing import Any

from fpenet.params.contract import ContractParams

_HINTS = {
    "input.size": "width, height",
    "input.mean": "a level of 0 to 255 becomes (level - mean) * scale",
    "output.units": "pixels, unit (0 to 1) or centred (-1 to 1)",
}


def contract_yaml(contract: ContractParams, open_keys: Mapping[str, str]) -> str:
    """The contract as YAML, which ``read_contract`` reads.

    Args:
        open_keys: dotted key -> why its value may be wrong.
    """
    return "\n".join(_lines(contract.model_dump(), open_keys, "", ""))


def _lines(
    tree: Mapping[str, Any], open_keys: Mapping[str, str], prefix: str, indent: str
) -> list[str]:
    lines = []
    for key, value in tree.items():
        dotted = prefix + key
        if isinstance(value, dict) and not prefix and key != "keypoints":
            lines.append(f"{indent}{key}:")
            lines += _lines(value, open_keys, f"{dotted}.", indent + "  ")
            continue
        comments = [_HINTS[dotted]] if dotted in _HINTS else []
        comments += [f"check this: {open_keys[dotted]}"] if dotted in open_keys else []
        text = f"{indent}{key}: {_flow(value)}"
        lines.append(f"{text}  # {'; '.join(comments)}" if comments else text)
    return lines


def _flow(value: Any) -> str:
    """A value of one line of YAML; JSON has no numbers as keys."""
    if not isinstance(value, dict):
        return json.dumps(value)
    return "{" + ", ".join(f"{key}: {json.dumps(each)}" for key, each in value.items()) + "}"
