"""``fpenet import-tao SPEC.yaml``: convert TAO's spec to a preset, with a table of all keys.

Output: a partial tree of params.yaml for ``presets/``, and the table as text.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from fpenet.core.errors import InputError
from fpenet.core.yaml_tree import brief, nested, read_yaml, write_yaml
from fpenet.params import load_params
from fpenet.provenance.digest import digest_bytes
from fpenet.tao.fields import How
from fpenet.tao.spec import SpecRow, read_spec


def import_spec(spec: Path, params: Path, out: Path) -> str:
    """Write the preset for ``spec`` to the new file ``out``; returns the table.

    Args:
        params: params.yaml, with which the result is validated.

    Raises:
        InputError: names the file, the key and its value; nothing is written.
    """
    if out.exists():
        raise InputError(f"--out {out}: exists; give another file")
    settings, rows = read_spec(read_yaml(spec), str(spec))
    try:
        load_params(params, overrides=settings)
    except InputError as error:
        raise InputError(f"{spec}, laid over {error}") from None
    digest = digest_bytes(spec.read_bytes())
    write_yaml(nested(settings), f"From {spec.name}, SHA-256 {digest[:16]}", out)
    return _table(rows)


def _table(rows: Sequence[SpecRow]) -> str:
    """One line per key; changed and ignored keys last."""
    lines = []
    for row in sorted(rows, key=lambda row: get_args(How).index(row.how)):
        source = "" if row.how == "added" else f"{row.key}: {brief(row.value)}"
        became = ", ".join(f"{name} = {brief(value)}" for name, value in row.became.items())
        text = " -> ".join(part for part in (source, became) if part)
        lines.append(f"{row.how:<8} {text}{f' ({row.why})' if row.why else ''}")
    return "\n".join(lines)
