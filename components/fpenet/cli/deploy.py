"""``fpenet infer``, ``check`` and ``key``: what is done with bundles, and with what signs them."""

import argparse
from pathlib import Path

from fpenet.cli.data import add_trusted
from fpenet.core.errors import InputError

_WANTED = ("overlay", "json", "csv")


def add_bundle_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> None:
    """Add the commands; none of them reads params.yaml, so a device needs none."""
    key = commands.add_parser("key", help="make a key that signs bundles and releases")
    key.add_argument("path", type=Path, metavar="NAME.pem", help="NAME.pub is written beside it")
    key.set_defaults(run=_key)
    check = commands.add_parser(
        "check", help="signature, digests and golden points of a bundle, on this machine"
    )
    check.add_argument("bundle", type=Path, help="the folder of one target, or of a whole bundle")
    add_trusted(check)
    check.set_defaults(run=_check)
    infer = commands.add_parser("infer", help="keypoints of the faces in images and videos")
    infer.add_argument("inputs", nargs="+", type=Path, metavar="IMAGE|VIDEO|FOLDER")
    infer.add_argument(
        "--model", type=Path, required=True, help="a bundle's folder or an ONNX file"
    )
    infer.add_argument("--precision", help="an engine of the bundle; default: as it says")
    infer.add_argument("--out", type=Path, default=Path("."), help="folder for what is written")
    infer.add_argument(
        "--write",
        nargs="+",
        choices=_WANTED,
        default=("overlay", "json"),
        help="default: overlay json",
    )
    infer.add_argument("--box", type=float, nargs=4, metavar=("X", "Y", "W", "H"), help="face box")
    infer.add_argument(
        "--detector",
        choices=("dlib", "whole"),
        default="dlib",
        help="how faces are found where no box is given; whole: the image is the face",
    )
    infer.add_argument("--fps", type=float, help="a folder's images are the frames of one video")
    infer.add_argument(
        "--detect-every",
        type=int,
        default=10,
        metavar="FRAMES",
        help="of a video; between, faces are followed by their points; default 10",
    )
    infer.add_argument(
        "--smooth",
        type=float,
        nargs=2,
        metavar=("HZ", "BETA"),
        help="one-euro filter of a video's points: cutoff of a still point, and Hz that it grows by"
        " for each face side a second; default 0.5 20; 0 0: as they are",
    )
    add_trusted(infer)
    infer.set_defaults(run=_infer)


def _key(options: argparse.Namespace) -> None:
    from fpenet.provenance.signing import make_key

    print(f"{options.path}: {make_key(options.path).public}")


def _check(options: argparse.Namespace) -> None:
    from fpenet.deploy.judge.golden import check_golden

    folders = [options.bundle] if (options.bundle / "model.json").is_file() else []
    folders += sorted(path.parent for path in options.bundle.glob("*/model.json"))
    if not folders:
        raise InputError(f"{options.bundle}: no bundle; wanted model.json or <target>/model.json")
    reasons = []
    for folder in folders:
        for one in check_golden(folder, options.trusted):
            said = one.absent or "; ".join(one.reasons) or f"good, {one.px:.3g} px off at most"
            print(f"{one.engine}: {'not run here: ' if one.absent else ''}{said}")
            reasons += [f"{one.engine}: {reason}" for reason in one.reasons]
    if reasons:
        raise InputError("; ".join(reasons))


def _infer(options: argparse.Namespace) -> None:
    from fpenet.deploy.runtime.infer import InferOptions, infer_files
    from fpenet.deploy.runtime.landmarker import Landmarker
    from fpenet.deploy.runtime.one_euro import Smoothing

    if options.detect_every < 1 or (options.fps is not None and options.fps <= 0):
        raise InputError("--detect-every and --fps must be positive")
    smoothing: Smoothing | None = Smoothing()
    if options.smooth is not None:
        hertz, beta = options.smooth
        if min(hertz, beta) < 0 or (hertz == 0) != (beta == 0):
            raise InputError(f"--smooth {hertz:g} {beta:g}: both positive, or 0 0")
        smoothing = Smoothing(hertz, beta) if hertz else None
    box = tuple(options.box) if options.box else None
    count = infer_files(
        options.inputs,
        Landmarker(options.model, options.precision, trusted=options.trusted),
        options.out,
        InferOptions(
            box or ("whole" if options.detector == "whole" else "detect"),
            options.write,
            options.fps,
            smoothing,
            options.detect_every,
        ),
    )
    print(f"{options.out}: {', '.join(options.write)}; inputs: {count}")
