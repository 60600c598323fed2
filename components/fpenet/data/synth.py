"""Stage synth: render the embedded data set in the layout of CMU Multi-PIE, with exact labels."""

import os
from functools import partial
from pathlib import Path

from fpenet.core.errors import InputError
from fpenet.core.progress import report
from fpenet.params import SynthParams
from fpenet.params.scheme import read_scheme
from synthface import checked_subjects, render_dataset


def render(*, synth: SynthParams, out_dir: Path) -> dict[str, int]:
    """Render the seeded set into ``out_dir``; the bytes do not depend on the machine.

    Returns:
        the numbers of subjects, cameras and faces (see ``render_dataset``).

    Raises:
        InputError: a value of the section, or a vertex of the scheme, is out of range.
    """
    scheme = None if synth.scheme is None else read_scheme(synth.scheme)
    try:
        checked_subjects(synth.seed, synth.subjects, synth.faces_per_subject, synth.views, scheme)
    except ValueError as error:
        raise InputError(f"synth: {error}") from error
    counts = render_dataset(
        out_dir,
        seed=synth.seed,
        subjects=synth.subjects,
        faces_per_subject=synth.faces_per_subject,
        workers=synth.workers or len(os.sched_getaffinity(0)),
        views=synth.views,
        scheme=scheme,
        progress=partial(report, unit="faces"),
    )
    if scheme is not None:
        text = scheme.model_dump_json(indent=1) + "\n"
        (out_dir / "scheme.json").write_text(text, encoding="utf-8")
    return counts
