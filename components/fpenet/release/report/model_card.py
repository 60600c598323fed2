"""The model card: the headings of NVIDIA's card, with values from the evidence only.

Input: the evidence of a release. Output: Markdown. Each number is a link to the evidence file that
contains it; the link names the SHA-256 of the file. Digits outside a link are part of a name
(`fp16`), in a code span.
"""

from collections.abc import Callable, Sequence

from fpenet.data.split import PartSize
from fpenet.params import TrainParams, ValidateParams
from fpenet.provenance.digest import digest_file
from fpenet.release.evidence import Evidence, engine_rows
from fpenet.release.report import nvidia_card
from fpenet.release.report.citations import (
    SOURCES,
    citation_table,
    cite,
    cite_interval,
    cited_names,
    evidence_file,
    evidence_table,
)
from fpenet.release.report.ethics import ethics, slice_error
from fpenet.release.report.not_measured import not_measured


def write_card(evidence: Evidence, reasons: Sequence[str]) -> str:
    """The card as Markdown.

    Args:
        reasons: against the promotion of the release; empty where it may be promoted.
    """
    sections = [f"# Model card of release `{evidence.release_digest[:12]}`\n\n{_verdict(reasons)}"]
    sections += [f"## {title}\n\n{write(evidence)}" for title, write in SECTIONS.items()]
    return "\n\n".join([*sections, _links(evidence)]) + "\n"


def _verdict(reasons: Sequence[str]) -> str:
    if not reasons:
        return "It may be promoted: every check that a promotion needs passed."
    refusal = "It was refused, by the [gate][gate] or because an [engine][engines] is missing:"
    return "\n".join([refusal, "", *(f"- `{reason}`" for reason in reasons)])


def _architecture(evidence: Evidence) -> str:
    training = evidence.training
    params = TrainParams.model_validate(evidence.manifests["train"].params["train"])
    heat_maps = f" and `{params.heatmap_loss}` of the heat maps" if params.heatmap_weight else ""
    parameters = cite(training.parameters, "training", ",d")
    return (
        f"A Recombinator network, `{training.net}`, with {parameters} parameters. Input: a grey"
        f" `80x80` crop, {cite(training.box_scale, 'training', 'g')} times the face box. Output:"
        f" {cite(training.num_keypoints, 'training', 'd')} keypoints and the confidence"
        f" ({training.confidence}) of each. Loss: `{params.loss}`{heat_maps}."
    )


def _training_data(evidence: Evidence) -> str:
    labels, split, training = evidence.validation, evidence.split, evidence.training
    limits = ValidateParams.model_validate(evidence.manifests["validate"].params["validate"])
    dropped = [f"{cite(count, 'labels', ',d')} {why}" for why, count in labels.dropped.items()]
    digest = evidence.manifests["validate"].inputs["labels"]
    return (
        f"`{labels.dataset}` (labels `{digest[:16]}`): {cite(labels.faces, 'labels', ',d')}"
        f" labelled faces of {cite(labels.subjects, 'labels', ',d')} subjects, of which"
        f" {cite(labels.kept, 'labels', ',d')} are used; dropped:"
        f" {', '.join(dropped) or 'none'}. Rules: an occlusion level of at most"
        f" {cite(limits.max_occlusion_level, 'rules', 'd')},"
        f" at least {cite(limits.min_visible_fraction, 'rules', '.0%')} of the face box in the"
        f" image. Split by subject (`{split.rule}`), so that no subject is in two parts:"
        f" {_part(split.train)} for training, {_part(split.val)} for validation. Trained for"
        f" {cite(training.epochs, 'training', 'd')} epochs,"
        f" {cite(training.minutes, 'training', '.1f')} minutes."
    )


def _part(size: PartSize) -> str:
    faces, subjects = cite(size.faces, "split", ",d"), cite(size.subjects, "split", ",d")
    return f"{faces} faces of {subjects} subjects"


def _evaluation_data(evidence: Evidence) -> str:
    kpi = evidence.kpi
    return (
        f"Part `{kpi.part}` of `{kpi.dataset}`:"
        f" {cite(kpi.num_faces, 'kpi', ',d')} faces of"
        f" {cite(kpi.num_subjects, 'kpi', ',d')} subjects that are not in the training data"
        f" (faces `{kpi.faces[:16]}`)."
    )


def _kpi(evidence: Evidence) -> str:
    kpi, headline = evidence.kpi, evidence.kpi.normaliser
    metrics = kpi.metrics
    comparable = kpi.dataset == nvidia_card.DATASET

    def cell(name: str, fmt: str) -> str:
        return cite_interval(metrics.get(name), kpi.intervals.get(name), "kpi", fmt)

    rows = [
        (
            region.replace("_", " "),
            cell(f"{nvidia_card.UNIT}/{region}", ".2f"),
            cite(nvidia_card.KPI_PX.get(region), "nvidia", "g"),
            cell(f"image_px/{region}", ".2f"),
            cell(f"nme_{headline}/{region}", ".2%"),
        )
        for region in kpi.regions
    ]
    note = "" if comparable else " (on Multi-PIE: not comparable)"
    head = ("region", "tight crop, px", f"NVIDIA's card, px{note}", "shipped crop, px", "NME")
    confidence = kpi.confidence
    failed, area = (metrics.get(f"{unit}_{headline}_8/all") for unit in ("failure_rate", "auc"))
    return "\n\n".join(
        [
            "The error of a region is the mean over the faces for each keypoint, then the mean over"
            " its keypoints, in pixels of the source image. NME is the error of a face divided by"
            f" the {kpi.normalisers[headline].split(',')[0]}. In parentheses:"
            f" {cite(kpi.interval.level, 'kpi', '.0%')} interval by a bootstrap over subjects"
            f" ({cite(kpi.interval.resamples, 'kpi', ',d')} resamples).",
            citation_table(head, rows),
            f"Faces with an NME above `8 %`: {cite(failed, 'kpi', '.1%')}; AUC up to `8 %`:"
            f" {cite(area, 'kpi', '.3f')}. Confidence: AUROC of large errors"
            f" {cite(confidence.auroc_large_error, 'kpi', '.3f')}, expected calibration error"
            f" {cite(confidence.ece, 'kpi', '.3f')}.",
            f"NME of all keypoints by the other normalisers: {_other_normalisers(evidence)}.",
        ]
    )


def _other_normalisers(evidence: Evidence) -> str:
    """The NME by each normaliser but the headline one, with its number of faces."""
    kpi = evidence.kpi
    texts = []
    for name, words in kpi.normalisers.items():
        metric = f"nme_{name}/all"
        if name != kpi.normaliser:
            texts.append(
                f"{cite(kpi.metrics.get(metric), 'kpi', '.2%')} over"
                f" {cite(kpi.metric_faces.get(metric, 0), 'kpi', ',d')} faces by the"
                f" {cited_names(words)}"
            )
    return "; ".join(texts)


def _performance(evidence: Evidence) -> str:
    rows = []
    for row, engine in zip(engine_rows(evidence), evidence.engines, strict=True):
        rates = [timing.faces_per_second for timing in evidence.timings.of_engine(row.id)]
        verdict = {True: "passed", False: "refused", None: row.status.words}[row.passed]
        card_ms = nvidia_card.LATENCY_MS if row.precision == "fp16" else {}
        rows.append(
            (
                f"`{row.target}`",
                f"`{row.precision}`",
                verdict,
                cite(row.p50_ms, "latency", ".2f"),
                cite(max(rates, default=None), "latency", ",.0f"),
                cite(engine.parity_px, "engines", ".2g"),
                cite(card_ms.get(row.target), "nvidia", "g"),
            )
        )
    head = ("target", "precision", "state", "ms, one face", "faces/s, best batch", "parity, px")
    return (
        "Measured on the machine that made the release, from grey pixels to keypoints. Parity: mean"
        " distance to the keypoints of the torch net, pixels of the crop.\n\n"
        + citation_table((*head, "NVIDIA's ms"), rows)
    )


def _limitations(evidence: Evidence) -> str:
    profiles = next((s for s in evidence.kpi.slices if s.value == "above 60"), None)
    lines = []
    if profiles is not None:
        lines.append(f"Faces with a yaw above `60` degrees: {slice_error(evidence, profiles)}.")
    lines += [cited_names(sentence) for sentence in not_measured(evidence)]
    return "\n".join(f"- {line}" for line in lines)


def _versions(evidence: Evidence) -> str:
    tools: dict[str, str] = {}
    for manifest in evidence.manifests.values():
        tools |= manifest.tools
    champion = evidence.verdict.champion
    return "\n".join(
        [
            f"- Release `{evidence.release_digest}`",
            f"- Weights `{evidence.manifests['train'].content[:16]}`, bundles"
            f" `{evidence.manifests['bundle'].content[:16]}`",
            f"- Champion: {champion.state.words}"
            + (f", `{champion.name}`" if champion.name else ""),
            "- Made with "
            + ", ".join(f"`{tool} {version}`" for tool, version in sorted(tools.items())),
        ]
    )


def _evidence(evidence: Evidence) -> str:
    return "Each number above links to one of these files.\n\n" + evidence_table(evidence.folders)


SECTIONS: dict[str, Callable[[Evidence], str]] = {
    "Model architecture": _architecture,
    "Training data": _training_data,
    "Evaluation data": _evaluation_data,
    "Methodology and KPI": _kpi,
    "Real-time inference performance": _performance,
    "Limitations": _limitations,
    "Ethical considerations": ethics,
    "Model versions": _versions,
    "Evidence": _evidence,
}


def _links(evidence: Evidence) -> str:
    digests = {
        path: digest_file(evidence_file(evidence.folders, path)) for path in SOURCES.values()
    }
    lines = [
        f'[{name}]: #evidence "{path}, SHA-256 {digests[path][:16]}"'
        for name, path in SOURCES.items()
    ]
    return "\n".join([*lines, f'[nvidia]: {nvidia_card.URL} "NVIDIA\'s FPENet model card"'])
