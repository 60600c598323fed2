"""The commands of the chapter judge: evaluate a model, compare two models, and run the gate."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fpenet.cli.command import CommandResult, ParamsOptions, add_command
from fpenet.cli.services import downloaded_model
from fpenet.cli.stage import OutFolder, add_stages, run_stage_command
from fpenet.core.errors import InputError

if TYPE_CHECKING:
    from fpenet.data.crops.store import CropStore
    from fpenet.params import Params

CHAPTER = "Judge"
_CONTRACT = "What the inputs and outputs of an ONNX file are (docs/contracts.md)"
_MODEL = "A bundle, an ONNX file, models:/NAME/VERSION, or a folder with predictions.npz"


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this chapter."""
    add_stages(app, CHAPTER, {"evaluate": evaluate})
    add_command(app, CHAPTER, compare)


def evaluate(
    options: ParamsOptions,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="An ONNX file, a bundle, or models:/NAME/VERSION; default: the trained net.",
        ),
    ] = None,
    contract: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"With --model: {_CONTRACT}.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="LABELS", help="With --model: a labelled set; default: ROOT/crop."),
    ] = None,
    all_faces: Annotated[
        bool, typer.Option("--all-faces", help="With --model: all faces, not only the KPI part.")
    ] = False,
    out: OutFolder = None,
) -> CommandResult:
    """Run the stage evaluate; with ``--model``, judge that model and print its card."""
    if model is None:
        if labels or all_faces or contract:
            raise InputError("--contract, --labels and --all-faces need --model")
        return run_stage_command("evaluate", options, out)
    import json

    from fpenet.deploy.judge.judge_models import write_evaluation

    params = options.load()
    out_dir = out or options.root / "judged"
    write_evaluation(
        downloaded_model(model, options.root / "weights"),
        _crops_of(options, params, labels, all_faces),
        params.evaluate,
        out_dir,
        params.trust.public_keys,
        contract,
    )
    value = json.loads((out_dir / "kpi.json").read_text(encoding="utf-8"))
    return CommandResult(value, (out_dir / "card.md").read_text(encoding="utf-8"))


def compare(
    options: ParamsOptions,
    first: Annotated[str, typer.Argument(metavar="A", help=f"{_MODEL}.")],
    second: Annotated[str, typer.Argument(metavar="B", help=f"{_MODEL}; compared with A.")],
    contract: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help=f"{_CONTRACT}; if both A and B are ONNX files: of B, or given twice, A's first.",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="LABELS", help="A labelled set; default: ROOT/crop."),
    ] = None,
    all_faces: Annotated[
        bool, typer.Option("--all-faces", help="All faces, not only the KPI part.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the rows as JSON.")
    ] = None,
) -> CommandResult:
    """Compare two models on the same faces, with confidence intervals."""
    from fpenet.core.records import encode
    from fpenet.deploy.judge.judge_models import compare_models

    params = options.load()
    weights = options.root / "weights"
    model_a, model_b = downloaded_model(first, weights), downloaded_model(second, weights)
    contracts = _contracts_of(contract or (), model_a, model_b)
    store = _crops_of(options, params, labels, all_faces)
    rows = compare_models(
        model_a,
        model_b,
        store,
        params.evaluate,
        params.gate.comparison,
        params.trust.public_keys,
        contracts,
    )
    result = CommandResult([encode(row) for row in rows], _table([row.cells() for row in rows]))
    if out:
        out.write_text(result.as_json() + "\n", encoding="utf-8")
    return result


def _contracts_of(
    contracts: Sequence[Path], first: Path, second: Path
) -> tuple[Path | None, Path | None]:
    """The contract file of each model.

    Raises:
        InputError: more contracts than models, or one for a model that is no file.
    """
    files = [model for model in (first, second) if model.is_file()]
    if len(contracts) > len(files):
        raise InputError(
            f"--contract is given {len(contracts)} times; {len(files)} of {first} and {second} are"
            " ONNX files"
        )
    if len(contracts) == 2:
        return contracts[0], contracts[1]
    if not contracts:
        return None, None
    return (None, contracts[0]) if second.is_file() else (contracts[0], None)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """The rows as a text table with a header."""
    header = ("metric", "slice", "faces", "A", "B", "change", "interval", "")
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
    return "\n".join(lines)


def _crops_of(
    options: ParamsOptions, params: "Params", labels: str | None, all_faces: bool
) -> "CropStore":
    """The crops of ROOT/crop, or of the labelled set, which are cached below ROOT."""
    from fpenet.data.crops.store import open_crops
    from fpenet.data.sources.s3_labels import local_labels
    from fpenet.deploy.judge.judge_models import all_faces_judged
    from fpenet.execution import cached_folder, run_stage
    from fpenet.provenance.manifest import verify
    from fpenet.stages import STAGES

    crop_dir = options.root / "crop"
    if labels:
        data = params.data.model_copy(update={"labels": labels})
        params = local_labels(params.model_copy(update={"data": data}), options.root / "labels")
        folders: dict[str, Path] = {}
        for name in ("validate", "split", "crop"):
            inputs = {stage: folders[stage] for stage in STAGES[name].inputs}
            folders[name] = cached_folder(options.root / "labelled", name, inputs, params)
            run_stage(name, folders[name], inputs, params)
        crop_dir = folders["crop"]
    verify(crop_dir)
    store = open_crops(crop_dir)
    return all_faces_judged(store) if all_faces else store
