"""``fpenet import-tao SPEC.yaml``: convert TAO's spec to a preset, and list all of its keys.

Output: a partial tree of params.yaml for ``presets/``, and the table as text.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from fpenet.core.errors import InputError
from fpenet.core.yaml_tree import brief, nested, read_yaml, write_yaml
from fpenet.params import load_params
from fpenet.provenance.digest import digest_bytes
from fpenet.tao.fields import Conversion
from fpenet.tao.spec import SpecRow, read_spec


def import_spec(spec: Path, params: Path, out: Path) -> str:
    """Write the preset for ``spec`` to the new file ``out``; returns the table.

    Args:
        params: params.yaml, for the validation of the preset.

    Raises:
        InputError: a key or value is not valid; the message names the file, the key and its value,
            and nothing is written.
    """
    if out.exists():
        raise InputError(f"--out {out}: exists; name another file")
    settings, rows = read_spec(read_yaml(spec), str(spec))
    try:
        load_params(params, overrides=settings)
    except InputError as error:
        raise InputError(f"{spec}, as a preset for {error}") from None
    digest = digest_bytes(spec.read_bytes())
    write_yaml(nested(settings), f"From {spec.name}, SHA-256 {digest[:16]}", out)
    return _table(rows)


def _table(rows: Sequence[SpecRow]) -> str:
    """One line for each key; changed and ignored keys come last."""
    lines = []
    for row in sorted(rows, key=lambda row: get_args(Conversion).index(row.conversion)):
        source = "" if row.conversion == "added" else f"{row.key}: {brief(row.value)}"
        params = ", ".join(f"{name} = {brief(value)}" for name, value in row.params.items())
        text = " -> ".join(part for part in (source, params) if part)
        lines.append(f"{row.conversion:<8} {text}{f' ({row.reason})' if row.reason else ''}")
    return "\n".join(lines)
