"""``fpenet evaluate --model`` and ``fpenet compare``: any models before the one judge."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fpenet.core.errors import InputError
from fpenet.data.sources.s3_labels import local_labels
from fpenet.execution import cached_folder, run_stage
from fpenet.params import Params
from fpenet.release.registry.local_models import local_model
from fpenet.stages import STAGES

if TYPE_CHECKING:
    from fpenet.data.crops.store import CropStore

Load = Callable[[argparse.Namespace], Params]


def add_model_options(evaluate: argparse.ArgumentParser) -> None:
    """Let the stage evaluate judge any model on any labels."""
    evaluate.add_argument(
        "--model",
        help="judge this instead of ROOT/train: an ONNX file, a bundle, or models:/NAME/VERSION",
    )
    evaluate.add_argument("--labels", help="with --model: a labelled set; default: ROOT/crop")
    evaluate.add_argument(
        "--all-faces", action="store_true", help="with --model: judge every face, of any part"
    )


def add_compare_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    shared: argparse.ArgumentParser,
    load: Load,
) -> None:
    """Add ``compare``; ``load`` makes the params of its options."""
    compare = commands.add_parser(
        "compare", parents=[shared], help="two models on the same faces, with intervals"
    )
    wanted = "a bundle, an ONNX file, models:/NAME/VERSION, or a folder with predictions.npz"
    compare.add_argument("first", metavar="A", help=wanted)
    compare.add_argument("second", metavar="B", help="as A; is it worse?")
    compare.add_argument("--labels", help="a labelled set; default: ROOT/crop")
    compare.add_argument("--all-faces", action="store_true", help="of any part")
    compare.add_argument("--out", type=Path, help="file for the rows as JSON")
    compare.set_defaults(run=lambda options: _compare(options, load(options)))


def judges_model(options: argparse.Namespace) -> bool:
    """Whether a stage's command is ``evaluate --model``.

    Raises:
        InputError: an option of it is given without ``--model``.
    """
    if options.command != "evaluate":
        return False
    if options.model:
        return True
    if options.labels or options.all_faces:
        raise InputError("--labels and --all-faces go with --model")
    return False


def judge_model(options: argparse.Namespace, params: Params) -> None:
    """``fpenet evaluate --model``: write what the model is worth, and print the card."""
    from fpenet.deploy.judge.judge_models import write_evaluation

    out_dir = options.out or options.root / "judged"
    write_evaluation(
        local_model(options.model, options.root / "weights"),
        _judged_faces(options, params),
        params.evaluate,
        out_dir,
        params.trust.public_keys,
    )
    print((out_dir / "card.md").read_text(encoding="utf-8"))


def _compare(options: argparse.Namespace, params: Params) -> None:
    from fpenet.deploy.judge.judge_models import compare_models

    first, second = (
        local_model(name, options.root / "weights") for name in (options.first, options.second)
    )
    store = _judged_faces(options, params)
    rows = compare_models(
        first,
        second,
        store,
        params.evaluate,
        params.gate.comparison,
        params.trust.public_keys,
    )
    if options.out:
        text = json.dumps([row.to_json() for row in rows], indent=1, allow_nan=False)
        options.out.write_text(text + "\n", encoding="utf-8")
    print(_table([row.cells() for row in rows]))


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows in columns, the first one their names."""
    header = ("metric", "slice", "faces", "A", "B", "change", "interval", "")
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
    return "\n".join(lines)


def _judged_faces(options: argparse.Namespace, params: Params) -> "CropStore":
    """The crops of ROOT/crop, or of the labelled set, made once below ROOT."""
    from fpenet.data.crops.store import open_crops
    from fpenet.deploy.judge.judge_models import all_faces_judged
    from fpenet.provenance.manifest import verify

    crop_dir = options.root / "crop"
    if options.labels:
        params = params.model_copy(
            update={"data": params.data.model_copy(update={"labels": options.labels})}
        )
        params = local_labels(params, options.root / "labels")
        folders: dict[str, Path] = {}
        for name in ("validate", "split", "crop"):
            inputs = {stage: folders[stage] for stage in STAGES[name].inputs}
            folders[name] = cached_folder(options.root / "labelled", name, inputs, params)
            run_stage(name, folders[name], inputs, params)
        crop_dir = folders["crop"]
    verify(crop_dir)
    store = open_crops(crop_dir)
    return all_faces_judged(store) if options.all_faces else store
