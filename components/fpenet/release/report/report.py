"""Stage report: write the HTML report of a release, its charts, and the model card.

Input: the folder of every stage before it. Does: shows their results; measures nothing itself.
Output: ``report.html``, with faces, for the machine that made the release; ``model_card.md``; and
``published/`` for MLflow: ``report.html`` and the charts as PNGs, without any image or image file
name of the labelled set.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from fpenet.core.progress import report
from fpenet.params import RegisterParams
from fpenet.release.evidence import CARD, PUBLISHED, REPORT, read_evidence, refusals
from fpenet.release.report.charts import png_of
from fpenet.release.report.model_card import write_card
from fpenet.release.report.page import Page

_STEPS = 4


def report_release(
    *, inputs: Mapping[str, Path], register: RegisterParams, out_dir: Path
) -> dict[str, Any]:
    """Write the report and the model card (see the top of this file).

    Args:
        inputs: stage -> its folder, for every stage before this one.

    Raises:
        InputError: a file of a stage is missing or cannot be read.
    """
    evidence = read_evidence(inputs)
    reasons = refusals(evidence, register.required_targets)
    report(0, _STEPS, "steps")
    page = Page(evidence, reasons)
    published = out_dir / PUBLISHED
    published.mkdir()
    template = templates().get_template("report.html.j2")
    for done, (folder, with_faces) in enumerate(((out_dir, True), (published, False)), 1):
        text = template.render(page.context(with_faces))
        (folder / REPORT).write_text(text, encoding="utf-8")
        report(done, _STEPS, "steps")
    for chart in page.charts:
        (published / f"{chart.name}.png").write_bytes(png_of(chart.figure))
    report(3, _STEPS, "steps")
    (out_dir / CARD).write_text(write_card(evidence, reasons), encoding="utf-8")
    report(4, _STEPS, "steps")
    return {
        "release_digest": evidence.release_digest,
        "promotable": not reasons,
        "charts": len(page.charts),
    }


@cache
def templates() -> jinja2.Environment:
    """The environment of the templates; an undefined variable in a template is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=jinja2.select_autoescape(("html.j2",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["words"] = lambda name: name.replace("_", " ")
    return environment
