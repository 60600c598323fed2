"""The commands of the chapter deploy: ONNX, engines, bundles, and inference on a device.

``infer``, ``check`` and ``key`` do not read params.yaml, because a device has none.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fpenet.cli.command import CommandResult, ParamsOptions, add_command
from fpenet.cli.data import Trusted
from fpenet.cli.stage import OutFolder, add_stages, run_stage_command
from fpenet.core.errors import InputError

CHAPTER = "Deploy"
_WRITTEN: tuple[Literal["overlay", "json", "csv"], ...] = ("overlay", "json", "csv")
Targets = Annotated[
    list[str] | None,
    typer.Option("--target", metavar="NAME", help="A GPU target or cpu. Can be repeated."),
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this chapter."""
    add_stages(app, CHAPTER, {"build": build, "benchmark": benchmark})
    for function in (infer, check, key):
        add_command(app, CHAPTER, function)


def build(options: ParamsOptions, target: Targets = None, out: OutFolder = None) -> CommandResult:
    """Run the stage build, for these targets only."""
    return run_stage_command("build", options, out, _of_targets("build", target))


def benchmark(
    options: ParamsOptions, target: Targets = None, out: OutFolder = None
) -> CommandResult:
    """Run the stage benchmark, for these targets only."""
    return run_stage_command("benchmark", options, out, _of_targets("benchmark", target))


def key(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="NAME.pem", help="The private key; NAME.pub is written into the same folder."
        ),
    ],
) -> CommandResult:
    """Create a key pair for signing bundles and releases."""
    from fpenet.provenance.signing import make_key

    public = str(make_key(path).public)
    return CommandResult({"path": path.as_posix(), "public": public}, f"{path}: {public}")


def check(
    bundle: Annotated[Path, typer.Argument(help="The folder of one target, or of a whole bundle.")],
    trusted: Trusted = ".keys",
) -> CommandResult:
    """Check the signature, the digests and the golden points of a bundle on this machine."""
    from fpenet.deploy.judge.golden import check_golden

    folders = [bundle] if (bundle / "model.json").is_file() else []
    folders += sorted(path.parent for path in bundle.glob("*/model.json"))
    if not folders:
        raise InputError(f"{bundle}: not a bundle; it must contain model.json or */model.json")
    rows, lines, reasons = [], [], []
    for folder in folders:
        for one in check_golden(folder, trusted):
            outcome = one.absent or "; ".join(one.reasons) or f"passed, max error {one.px:.3g} px"
            lines.append(f"{one.engine_id}: {'not run here: ' if one.absent else ''}{outcome}")
            reasons += [f"{one.engine_id}: {reason}" for reason in one.reasons]
            row = {"engine_id": one.engine_id, "px": one.px, "reasons": list(one.reasons)}
            rows.append(row | {"not_run": one.absent})
    messages = ["; ".join(reasons)] if reasons else []
    return CommandResult(rows, "\n".join(lines), 2 if reasons else 0, messages)


def infer(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT...", help="Images, videos, or folders of images."),
    ],
    model: Annotated[
        Path, typer.Option(metavar="MODEL", help="A bundle's folder, or an ONNX file.")
    ],
    precision: Annotated[
        str | None, typer.Option(help="Precision of the engine; default: that of model.json.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The output folder.")] = Path("."),
    write: Annotated[
        list[str],
        typer.Option(metavar="KIND...", help="One or more of overlay, json and csv."),
    ] = ["overlay", "json"],  # noqa: B006
    box: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(metavar="X Y W H", help="The face box in pixels, instead of a detector."),
    ] = None,
    detector: Annotated[
        Literal["dlib", "whole"],
        typer.Option(help="The face detector; whole: the face box is the whole image."),
    ] = "dlib",
    fps: Annotated[
        float | None,
        typer.Option(help="Frame rate: treat the images of a folder as frames of a video."),
    ] = None,
    detect_every: Annotated[
        int,
        typer.Option(
            metavar="FRAMES", help="Frames between two detections; faces are tracked in between."
        ),
    ] = 10,
    smooth: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="HZ BETA",
            help="One-euro filter for the keypoints of a video: cutoff frequency of a still"
            " keypoint, and its increase for a speed of one face side per second."
            " Default: 0.5 20; off: 0 0.",
        ),
    ] = None,
    recursive: Annotated[
        bool, typer.Option(help="Also the files in the folders of a folder.")
    ] = False,
    trusted: Trusted = ".keys",
) -> CommandResult:
    """Predict the keypoints of the faces in images and videos."""
    from fpenet.deploy.runtime.infer import InferOptions, infer_files
    from fpenet.deploy.runtime.landmarker import Landmarker
    from fpenet.deploy.runtime.one_euro import Smoothing

    if wrong := set(write) - set(_WRITTEN):
        raise InputError(f"--write {', '.join(sorted(wrong))}: must be {', '.join(_WRITTEN)}")
    kinds = [kind for kind in _WRITTEN if kind in write]
    if detect_every < 1 or (fps is not None and fps <= 0):
        raise InputError("--detect-every and --fps must be positive")
    smoothing: Smoothing | None = Smoothing()
    if smooth is not None:
        hertz, beta = smooth
        if min(hertz, beta) < 0 or (hertz == 0) != (beta == 0):
            raise InputError(f"--smooth {hertz:g} {beta:g}: both must be positive, or both 0")
        smoothing = Smoothing(hertz, beta) if hertz else None
    done = infer_files(
        inputs,
        Landmarker(model, precision, trusted=trusted),
        out,
        InferOptions(
            box or ("whole" if detector == "whole" else "detect"),
            kinds,
            fps,
            smoothing,
            detect_every,
            recursive,
        ),
    )
    value = {"out": out.as_posix(), "write": kinds, "inputs": done.inputs}
    value |= {"refused": list(done.refused)}
    refused = f"; refused: {len(done.refused)}" if done.refused else ""
    text = f"{out}: {', '.join(kinds)}; inputs: {done.inputs}{refused}"
    return CommandResult(value, text, 2 if done.refused else 0, done.refused)


def _of_targets(stage: str, targets: list[str] | None) -> dict[str, Any]:
    return {f"{stage}.targets": targets} if targets else {}
