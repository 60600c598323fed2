"""The report of a labelled set as one HTML page: findings, and images of the worst faces.

Input: the samples and the results of the checks. Does: crops the worst faces of each check and
overlays their points, coloured by region. Output: a self-contained page.
"""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from fpenet.core.errors import InputError
from fpenet.data.overlay import draw_face
from fpenet.data.sample import FaceSample
from fpenet.data.validation.run_checks import CheckedLabels, suspicion
from fpenet.data.validation.validation_report import ValidationReport

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
color: #1c1c1c; background: #fff } table { border-collapse: collapse; margin: .5rem 0 1.5rem }
th, td { border: 1px solid #ccc; padding: .2rem .6rem; text-align: left; vertical-align: top }
td.n { text-align: right } .faces { display: flex; flex-wrap: wrap; gap: .7rem }
figure { margin: 0; width: 160px; font-size: 12px } figure img { display: block }
figcaption { overflow-wrap: anywhere } .stop { color: #b00020; font-weight: 600 }
"""


def _figure(sample: FaceSample, root: Path, caption: str) -> str:
    caption_html = f"<figcaption>{html.escape(sample.image)}<br>{html.escape(caption)}</figcaption>"
    try:
        picture = draw_face(sample, root)
    except InputError as error:  # refused, or no place in its image
        return f"<figure>{html.escape(str(error))}{caption_html}</figure>"
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=80)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<figure><img alt="" src="data:image/jpeg;base64,{data}">{caption_html}</figure>'


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    def cell(value: object) -> str:
        number = isinstance(value, int | float)
        return f"<td{' class=n' if number else ''}>{html.escape(str(value))}</td>"

    titles = "".join(f"<th>{html.escape(each)}</th>" for each in head)
    body = "".join(f"<tr>{''.join(cell(value) for value in row)}</tr>" for row in rows)
    return f"<table><tr>{titles}</tr>{body}</table>"


def render_report(
    report: ValidationReport,
    samples: Sequence[FaceSample],
    sifted: CheckedLabels,
    root: Path,
    most: int,
) -> str:
    """The page.

    Args:
        most: pictures of each check.
    """
    parts = [
        f"<h1>Labels of {html.escape(report.dataset)}</h1>",
        f"<p>{report.kept} of {report.faces} faces are kept,"
        f" {report.subjects} subjects, {report.num_keypoints} keypoints.</p>",
    ]
    for line in report.blocking:
        parts.append(f'<p class="stop">Stops the run: {html.escape(line)}</p>')
    for line in report.warnings:
        parts.append(f"<p>Warning: {html.escape(line)}</p>")
    parts.append("<h2>Checks</h2>")
    parts.append(
        _table(
            ("check", "severity", "found", "not run"),
            [
                (name, each.severity, each.findings, each.skipped or "")
                for name, each in report.checks.items()
            ],
        )
    )
    parts.append("<h2>Dropped, by reason</h2>")
    parts.append(_table(("reason", "faces"), report.dropped.items()))
    for name, counts in report.counts.items():
        parts.append(f"<h2>Faces by {html.escape(name)}</h2>")
        parts.append(_table((name, "faces"), counts.items()))
    parts.append(_worst(samples, sifted, root, most))
    page = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Labels</title>'
        f"<style>{_STYLE}</style></head><body>\n{page}\n</body></html>\n"
    )


def _worst(samples: Sequence[FaceSample], sifted: CheckedLabels, root: Path, most: int) -> str:
    """Images of the most suspicious faces over all checks, then of each check."""
    parts = []
    if sifted.scores:
        total = suspicion(sifted.scores)
        rows = [int(row) for row in np.argsort(-total, kind="stable")[:most]]
        parts.append("<h2>The most suspicious faces, all checks together</h2><div class=faces>")
        parts += [_figure(samples[row], root, f"{total[row]:.2f}") for row in rows]
        parts.append("</div>")
    for check in sifted.outcomes:
        found = [one for one in sifted.findings if one.check == check and one.face >= 0]
        if found:
            parts.append(f"<h2>{html.escape(check)}: {len(found)}</h2><div class=faces>")
            parts += [_figure(samples[one.face], root, one.detail) for one in found[:most]]
            parts.append("</div>")
    return "\n".join(parts)
