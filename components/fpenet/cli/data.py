"""``fpenet convert``, ``describe`` and ``labels``: what people do with a labelled set by hand."""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fpenet.params import Params

Load = Callable[[argparse.Namespace], Params]


def add_label_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    shared: argparse.ArgumentParser,
    load: Load,
) -> None:
    """Add the commands; ``load`` makes the params of their options."""
    convert = commands.add_parser(
        "convert", parents=[shared], help="a labelled set in another format"
    )
    convert.add_argument("labels", type=Path, metavar="SRC", help="folder or label file")
    convert.add_argument("--format", help="of SRC; default: found by looking")
    convert.add_argument("--to", default="sloth", help="sloth, label_studio, coco, table or pts")
    convert.add_argument("--out", type=Path, required=True, help="a new folder")
    convert.set_defaults(run=lambda options: _convert(options, load(options)))
    describe = commands.add_parser("describe", parents=[shared], help="what a labelled set holds")
    describe.add_argument("labels", type=Path, metavar="SRC", help="folder or label file")
    describe.add_argument("--format", help="of SRC; default: found by looking")
    describe.add_argument(
        "--out", type=Path, default=Path("describe"), help="for describe.json, contact_sheet.png"
    )
    describe.set_defaults(run=lambda options: _describe(options, load(options)))
    loop = commands.add_parser("labels", help="the labelling loop: export, diff")
    steps = loop.add_subparsers(dest="labels_command", required=True, metavar="COMMAND")
    export = steps.add_parser(
        "export", parents=[shared], help="the faces to look at again, as Label Studio tasks"
    )
    export.add_argument("labels", type=Path, metavar="LABELS", help="a labelled set")
    export.add_argument("--model", type=Path, required=True, help="a bundle's folder or ONNX file")
    add_trusted(export)
    export.add_argument("--worst", type=int, default=100, help="how many; default 100")
    export.add_argument("--findings", type=Path, help="findings.csv of a validate folder")
    export.add_argument("--out", type=Path, required=True, help="a new folder")
    export.set_defaults(run=lambda options: _export(options, load(options)))
    diff = steps.add_parser("diff", parents=[shared], help="what people changed")
    diff.add_argument("old", type=Path, help="the labelled set as it was")
    diff.add_argument("new", type=Path, help="the corrected one, of any format")
    diff.add_argument("--out", type=Path, required=True, help="folder of diff.json and diff.html")
    diff.add_argument("--most", type=int, default=200, help="pictures; default 200")
    diff.set_defaults(run=lambda options: _diff(options, load(options)))


def add_trusted(command: argparse.ArgumentParser) -> None:
    """The option that says whose models are opened."""
    command.add_argument(
        "--trusted",
        default=".keys",
        metavar="KEYS",
        help="NAME.pub, or a folder of them, of who must have signed the model; default .keys;"
        " 'anyone' opens what nobody signed",
    )


def _convert(options: argparse.Namespace, params: Params) -> None:
    from fpenet.data.convert import convert_labels

    print(_text(convert_labels(options.labels, params.data, options.to, options.out)))


def _describe(options: argparse.Namespace, params: Params) -> None:
    from fpenet.data.describe import contact_sheet, describe_set
    from fpenet.data.readers import read_labels

    labelled = read_labels(options.labels, params.data)
    said = describe_set(labelled, params.validate_)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "describe.json").write_text(_text(said) + "\n", encoding="utf-8")
    contact_sheet(labelled).save(options.out / "contact_sheet.png")
    keypoints = {name: said["keypoints"][name] for name in said["keypoints"] if name != "visible"}
    print(_text(said | {"keypoints": keypoints}))


def _export(options: argparse.Namespace, params: Params) -> None:
    from fpenet.data.readers import read_labels
    from fpenet.deploy.runtime.landmarker import Landmarker
    from fpenet.deploy.runtime.preannotate import export_tasks

    labelled = read_labels(options.labels, params.data)
    model = Landmarker(options.model, trusted=options.trusted)
    print(_text(export_tasks(labelled, model, options.worst, options.out, options.findings)))


def _diff(options: argparse.Namespace, params: Params) -> None:
    from fpenet.data.labelling.diff import diff_page, diff_sets, summary_of
    from fpenet.data.readers import read_labels

    new = read_labels(options.new, params.data)
    diffs = diff_sets(read_labels(options.old, params.data), new)
    said = summary_of(diffs)
    options.out.mkdir(parents=True, exist_ok=True)
    page = diff_page(diffs, new.root, options.most)
    (options.out / "diff.html").write_text(page, encoding="utf-8")
    (options.out / "diff.json").write_text(_text(said) + "\n", encoding="utf-8")
    print(_text({name: said[name] for name in said if name != "changes"}))


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, allow_nan=False)
