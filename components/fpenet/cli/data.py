"""The commands of the chapter data: render, check, split and crop faces, and correct labels."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fpenet.cli.command import CommandResult, ParamsOptions, add_command, json_result
from fpenet.cli.stage import add_stages, run_stage_command

CHAPTER = "Data"
Labels = Annotated[
    Path, typer.Argument(metavar="LABELS", help="A labelled set: its folder or label file.")
]
Format = Annotated[
    str | None, typer.Option(metavar="NAME", help="Format of LABELS; default: detected.")
]
Trusted = Annotated[
    str,
    typer.Option(
        metavar="KEYS",
        help="NAME.pub, or a folder of such files: the trusted keys."
        " 'anyone' accepts an unsigned model.",
    ),
]
NewFolder = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="A new folder.")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this chapter."""
    labels = typer.Typer(help="Export labels for correction, and compare the corrected labels.")
    add_command(labels, None, labels_export, "export")
    add_command(labels, None, labels_diff, "diff")
    add_stages(app, CHAPTER, {"synth": synth})
    for function in (convert, describe, fetch, remote):
        add_command(app, CHAPTER, function)
    app.add_typer(labels, name="labels", rich_help_panel=CHAPTER)


def synth(
    options: ParamsOptions,
    subjects: Annotated[
        int | None,
        typer.Option(help="Number of training subjects; 23 KPI subjects are always added."),
    ] = None,
    faces_per_subject: Annotated[int | None, typer.Option(help="Images of each subject.")] = None,
    views: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VIEW...", help="all, near-frontal, profile, or names of cameras, e.g. 05_1."
        ),
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A keypoint scheme, e.g. schemes/ten.yaml."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Random seed; another seed renders other subjects.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Number of processes; the images do not depend on it.")
    ] = None,
    mesh: Annotated[
        Path | None,
        typer.Option(metavar="FILE.obj", help="Only write the mean head as a mesh."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A new folder; default: data.labels.")
    ] = None,
) -> CommandResult:
    """Render faces, or write the mean head; each option is a key of ``synth`` in params.yaml."""
    values = {
        "seed": seed,
        "subjects": subjects,
        "faces_per_subject": faces_per_subject,
        "views": views or None,
        "scheme": scheme,
        "workers": workers,
    }
    overrides = {f"synth.{key}": value for key, value in values.items() if value is not None}
    if mesh is None:
        return run_stage_command("synth", options, out, overrides)
    from synthface.geometry.scheme import head_obj

    options.load(overrides)  # only to report a wrong option
    mesh.write_text(head_obj(), encoding="ascii")
    text = f"{mesh}: the vertex numbers of a scheme file start at 0 (docs/synthetic.md)"
    return CommandResult({"mesh": mesh.as_posix()}, text)


def convert(
    options: ParamsOptions,
    labels: Labels,
    out: NewFolder,
    to: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="sloth, label_studio, cvat, labelme, coco, table or pts."
        ),
    ] = "sloth",
    format: Format = None,
) -> CommandResult:
    """Write a labelled set in another format."""
    from fpenet.data.convert import convert_labels

    return json_result(convert_labels(labels, options.load(_of_format(format)).data, to, out))


def describe(
    options: ParamsOptions,
    labels: Labels,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="For describe.json and contact_sheet.png.")
    ] = Path("describe"),
    format: Format = None,
) -> CommandResult:
    """Count the faces, subjects and keypoints of a labelled set."""
    from fpenet.data.describe import contact_sheet, describe_set
    from fpenet.data.readers import read_labels

    params = options.load(_of_format(format))
    labelled = read_labels(labels, params.data)
    description = describe_set(labelled, params.validate_)
    out.mkdir(parents=True, exist_ok=True)
    (out / "describe.json").write_text(_text(description) + "\n", encoding="utf-8")
    contact_sheet(labelled).save(out / "contact_sheet.png")
    counts = {name: each for name, each in description["keypoints"].items() if name != "visible"}
    return json_result(description | {"keypoints": counts})


def fetch(options: ParamsOptions) -> CommandResult:
    """Download the labelled set of data.labels, which is an s3://bucket/prefix."""
    from fpenet.data.sources.s3_labels import local_labels

    labels = local_labels(options.load(), options.root / "labels").data.labels
    return CommandResult({"labels": labels}, labels)


def remote(options: ParamsOptions) -> CommandResult:
    """Configure storage.bucket as the DVC remote of dvc push and dvc pull."""
    from fpenet.data.sources.dvc_remote import configure_remote

    url = configure_remote(options.load().storage, options.params.parent)
    return CommandResult({"remote": url}, url)


def labels_export(
    options: ParamsOptions,
    labels: Labels,
    model: Annotated[
        Path, typer.Option(metavar="MODEL", help="A bundle's folder, or an ONNX file.")
    ],
    out: NewFolder,
    worst: Annotated[int, typer.Option(metavar="N", help="Number of faces.")] = 100,
    findings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="findings.csv of a validate folder.")
    ] = None,
    trusted: Trusted = ".keys",
) -> CommandResult:
    """Write the faces whose labels a person should check as Label Studio tasks."""
    from fpenet.data.readers import read_labels
    from fpenet.deploy.runtime.landmarker import Landmarker
    from fpenet.deploy.runtime.preannotate import export_tasks

    labelled = read_labels(labels, options.load().data)
    landmarker = Landmarker(model, trusted=trusted)
    return json_result(export_tasks(labelled, landmarker, worst, out, findings))


def labels_diff(
    options: ParamsOptions,
    old: Annotated[Path, typer.Argument(help="The labelled set before the correction.")],
    new: Annotated[Path, typer.Argument(help="The corrected set, in any format.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="For diff.json and diff.html.")],
    most: Annotated[
        int, typer.Option(metavar="N", help="Largest number of images on the page.")
    ] = 200,
) -> CommandResult:
    """Show the labels that differ between two labelled sets."""
    from fpenet.data.labelling.diff import diff_page, diff_sets, summary_of
    from fpenet.data.readers import read_labels

    data = options.load().data
    corrected = read_labels(new, data)
    diffs = diff_sets(read_labels(old, data), corrected)
    summary = summary_of(diffs)
    out.mkdir(parents=True, exist_ok=True)
    page = diff_page(diffs, corrected.root, most)
    (out / "diff.html").write_text(page, encoding="utf-8")
    (out / "diff.json").write_text(_text(summary) + "\n", encoding="utf-8")
    return json_result({name: summary[name] for name in summary if name != "changes"})


def _of_format(name: str | None) -> dict[str, Any]:
    return {"data.format": name} if name else {}


def _text(value: Any) -> str:
    return json.dumps(value, indent=1, allow_nan=False)
