"""The section "Ethical considerations" of the model card: errors of groups of subjects."""

from fpenet.kpi.report import SliceMetrics
from fpenet.release.evidence import Evidence
from fpenet.release.report.citations import citation_table, cite, cite_interval, cited_names
from fpenet.release.report.not_measured import PERSONAL


def ethics(evidence: Evidence) -> str:
    """The section: errors by slice, and the spread between groups of subjects."""
    slices: dict[str, list[SliceMetrics]] = {}
    for one in evidence.kpi.slices:
        slices.setdefault(one.attribute, []).append(one)
    metric = f"nme_{evidence.kpi.normaliser}/all"
    personal = {*PERSONAL, *(one.attribute for one in evidence.kpi.spreads)}
    rows = []
    for attribute, every in slices.items():
        judged = [one for one in every if one.metrics.get(metric) is not None]
        worst = sorted(judged, key=lambda one: -(one.metrics[metric] or 0.0))[:1]
        for one in every if attribute in personal else worst:
            rows.append(
                (
                    attribute.replace("_", " "),
                    f"`{one.value}`",
                    cite(one.num_faces, "kpi", ",d"),
                    cite(one.num_subjects, "kpi", ",d"),
                    slice_error(evidence, one),
                )
            )
    absent = [name for name in PERSONAL if name not in slices]
    missing = f" The labels do not contain {', '.join(absent)}." if absent else ""
    return (
        "NME of all keypoints with its interval: every slice of an attribute of the subjects, and"
        f" the worst slice of any other attribute.{missing}\n\n"
        + citation_table(("attribute", "slice", "faces", "subjects", "NME"), rows)
        + "\n\n"
        + _spreads(evidence)
    )


def _spreads(evidence: Evidence) -> str:
    """The spread between the groups of each attribute of the subjects."""
    if not evidence.kpi.spreads:
        return "Spread between groups of subjects: n/a, no attribute describes the subjects."
    rows = [
        (
            one.attribute.replace("_", " "),
            cite(one.groups, "kpi", "d"),
            f"`{one.largest}`" if one.largest else "",
            f"`{one.smallest}`" if one.smallest else "",
            f"n/a: {cited_names(one.why or '')}"
            if one.ratio is None
            else cite_interval(one.ratio, one.interval, "kpi", ".2f"),
        )
        for one in evidence.kpi.spreads
    ]
    head = ("attribute", "groups", "largest NME", "smallest NME", "largest / smallest")
    return (
        "Spread between groups of subjects: the largest NME of a group over the smallest. An"
        " interval that contains `1` shows no difference.\n\n" + citation_table(head, rows)
    )


def slice_error(evidence: Evidence, one: SliceMetrics) -> str:
    """The headline NME of a slice with its interval, as citations."""
    metric = f"nme_{evidence.kpi.normaliser}/all"
    if one.too_few:
        return "too few"
    return cite_interval(one.metrics.get(metric), one.intervals.get(metric), "kpi", ".2%")
