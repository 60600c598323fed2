"""What rendered faces teach about real ones: a net trained on them, judged on photographed people.

Four trainings of one net with one recipe: rendered faces alone, real faces alone, both as one set,
and real faces from the net that saw rendered ones (`then`). All are judged on the part `val` of the
real faces, 68 keypoints, NME by the square root of the face box's area, beside the mean shape.
Near-frontal: the nose's tip lies within a tenth of the jaw's width from its middle.

    python -m benchmarks.synthetic_transfer --real FACES [--synthetic data] [--net small]
        [--minutes 8] [--steps 9000] [--only rendered real both then] [--save]

FACES is a labelled set, or a folder with the finished stages validate, split and crop of one. The
trainings take as many steps each. Without ``--real`` there is nothing to judge on.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.result_file import NothingToMeasure, run_benchmark
from fpenet.data.crops.store import CropStore, first_keypoints, open_crops
from fpenet.execution import run_stage
from fpenet.keypoints import scheme_for
from fpenet.kpi.metrics import face_errors, nme
from fpenet.model.checkpoint import load_net
from fpenet.model.evaluate import torch_predict
from fpenet.model.train import train_on
from fpenet.params import Params, load_params
from fpenet.stages import STAGES

MEASURES = ("synthface.dataset", "fpenet.model.train")
KEYPOINTS = 68
REGIONS = ("chin", "eyebrows", "nose", "eyes", "mouth")
Points = NDArray[np.float32]


def crops_of(labels: Path, folder: Path) -> CropStore:
    """The crop store of a labelled set, made in ``folder``; or one that is finished."""
    if not (labels / "crop").exists():
        params = load_params(Path("params.yaml"), None, {"data.labels": labels.as_posix()})
        for name in ("validate", "split", "crop"):
            inputs = {each: folder / each for each in STAGES[name].inputs}
            run_stage(name, folder / name, inputs, params)
        labels = folder
    store = open_crops(labels / "crop")
    return store if store.num_keypoints == KEYPOINTS else first_keypoints(store, KEYPOINTS)


def trained_on(*stores: CropStore) -> CropStore:
    """The training faces of all stores as one; nobody is watched."""
    rows = [store.rows("train") for store in stores]
    columns = ["subject", "part", "side"]
    return replace(
        stores[0],
        crops=np.concatenate([store.crops[row] for store, row in zip(stores, rows, strict=True)]),
        table=pa.concat_tables(
            [
                store.table.select(columns).take(pa.array(row))
                for store, row in zip(stores, rows, strict=True)
            ]
        ),
        points_margin=np.concatenate(
            [store.points_margin[row] for store, row in zip(stores, rows, strict=True)]
        ),
        visibility=np.concatenate(
            [store.visibility[row] for store, row in zip(stores, rows, strict=True)]
        ),
    )


def points_of(store: CropStore, params: Params, judged: CropStore, folder: Path) -> Points:
    """(N, 68, 2) points of the judged faces by a net that was trained on ``store``."""
    train_on(store, params.train, folder)
    net, _ = load_net(folder)
    predict = torch_predict(net)
    images = judged.images(judged.rows("val"))
    found = [predict(images[first : first + 64])[0] for first in range(0, len(images), 64)]
    return np.concatenate(found)


def near_frontal(points: Points) -> NDArray[np.bool_]:
    """(N,) whether the nose's tip lies near the middle of the jaw."""
    across = points[:, 16, 0] - points[:, 0, 0]
    off = (points[:, 30, 0] - (points[:, 0, 0] + points[:, 16, 0]) / 2) / across
    return np.abs(off) < 0.1


def print_row(name: str, found: Points, real: CropStore, first: float | None = None) -> float:
    """NME of near-frontal and of all faces, and of each region in crop pixels.

    Args:
        first: NME of all faces by the mean shape, which this one is printed as a share of.

    Returns:
        NME of all faces.
    """
    of_faces = face_errors(real, real.rows("val"), found)
    errors = of_faces.errors
    faces = nme(errors, np.isfinite(errors), of_faces.headline[1])
    frontal = near_frontal(real.points_crop(real.rows("val")))
    mean = float(faces.mean())
    print(
        f"{name:<24}{faces[frontal].mean():>12.2%}{mean:>9.2%}{mean / (first or mean):>9.0%}",
        end="",
    )
    regions = scheme_for(KEYPOINTS).regions
    print("".join(f"{errors[:, regions[each]].mean():>10.2f}" for each in REGIONS), flush=True)
    return mean


def print_offsets(found: Points, target: Points) -> None:
    """Where rendered and real definitions differ: the mean of found - labelled, near-frontal."""
    frontal = near_frontal(target)
    off = (found - target)[frontal].mean(axis=0)
    print("mean offset of the points of rendered faces alone, px of the crop (right, down)")
    for name in REGIONS:
        own = off[list(scheme_for(KEYPOINTS).regions[name])]
        print(f"{name:<10}", " ".join(f"{x:+.1f},{y:+.1f}" for x, y in own))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--synthetic", type=Path, default=Path("data"))
    parser.add_argument("--net", default="small")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--only", nargs="+", default=["rendered", "real", "both", "then"])
    run_benchmark(parser, measure)


def measure(options: argparse.Namespace) -> None:
    """Train and judge each; print the tables."""
    if "then" in options.only and "rendered" not in options.only[: options.only.index("then")]:
        raise SystemExit("--only then: it starts from rendered, which comes before it")
    if options.real is None:
        raise NothingToMeasure("no real faces were named (--real) to judge on")
    with tempfile.TemporaryDirectory() as scratch:
        real = crops_of(options.real, Path(scratch, "real"))
        rendered = crops_of(options.synthetic, Path(scratch, "rendered"))
        target = real.points_crop(real.rows("val"))
        print(f"{options.net}, {target.shape[0]} real faces of val, of which", end=" ")
        print(f"{near_frontal(target).sum()} near-frontal")
        print(f"{'trained on':<24}{'near-frontal':>12}{'all':>9}{'of mean':>9}", end="")
        print("".join(f"{each:>10}" for each in REGIONS), "px of the crop")
        mean = real.points_crop(real.rows("train")).mean(axis=0, keepdims=True)
        nothing = print_row("nothing: the mean shape", np.repeat(mean, len(target), axis=0), real)
        stores = {
            "rendered": trained_on(rendered),
            "real": trained_on(real),
            "both": trained_on(rendered, real),
            "then": trained_on(real),
        }
        for name in options.only:
            store = stores[name]
            train: dict[str, object] = {"train.net": options.net}
            train["train.max_minutes"] = options.minutes
            params = load_params(Path("params.yaml"), None, train)
            if name == "then":
                train["train.start_from"] = Path(scratch, "rendered").as_posix()
            batches = len(store.crops) // params.train.batch_size
            train["train.epochs"] = max(1, round(options.steps / batches))
            params = load_params(Path("params.yaml"), None, train)
            folder = Path(scratch, name)
            folder.mkdir(exist_ok=True)
            found = points_of(store, params, real, folder)
            print_row(f"{name}, {len(store.crops)} faces", found, real, nothing)
            if name == "rendered":
                offsets = found
        if "rendered" in options.only:
            print_offsets(offsets, target)


if __name__ == "__main__":
    main()
