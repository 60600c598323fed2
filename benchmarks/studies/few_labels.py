"""What faces without labels and a larger net as teacher are worth where few people are labelled.

``small`` and ``large`` learn from a share of the people of ``train``; then ``small`` learns from
the same people and from the faces of all, whose labels are not read: by equivariance (ELT), and
from that ``large`` as teacher. All are judged on ``val``: NME by the square root of the face box's
area, its interval by resampling the people, and as a share of the first training's.

    python -m benchmarks.studies.few_labels --crops dvc/crop [--share 0.25] [--epochs N] [--save]
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.result_file import run_benchmark
from benchmarks.studies.accuracy import interval
from fpenet.data.crops.store import CropStore, hold_aside, open_crops
from fpenet.kpi.metrics import face_errors, nme
from fpenet.kpi.predictions import predict_all
from fpenet.model.checkpoint import load_net
from fpenet.model.evaluate import torch_predict
from fpenet.model.train import train_on
from fpenet.params import load_params

MEASURES = ("fpenet.model.train",)
_SEED, _ASIDE_SEED = 35, 36  # not split.seed, whose people are val's already


def trainings(crops: Path, root: Path) -> dict[str, dict[str, Any]]:
    """Keys of ``train`` for each training, in the order in which they must run."""
    unlabelled = crops.as_posix()
    teacher = (root / "large").as_posix()
    return {
        "small": {"net": "small", "epochs": 112},
        "small, ELT 0.5 on all faces": {
            "net": "small",
            "epochs": 30,
            "elt_weight": 0.5,
            "unlabelled": unlabelled,
        },
        "large": {"net": "large", "epochs": 60},
        "small, large as teacher on all faces": {
            "net": "small",
            "epochs": 30,
            "teacher": teacher,
            "unlabelled": unlabelled,
        },
    }


def nme_of_faces(train_dir: Path, store: CropStore) -> np.ndarray:
    """(N,) NME of each face of ``val``."""
    rows = store.rows("val")
    points, _ = predict_all(torch_predict(load_net(train_dir)[0]), store.images(rows), 64)
    found = face_errors(store, rows, points)
    return nme(found.errors, np.isfinite(found.errors), found.headline[1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.25, help="of the people of train")
    parser.add_argument("--epochs", type=int, help="of every training, in place of its own number")
    run_benchmark(parser, measure)


def measure(options: argparse.Namespace) -> None:
    """Train and judge each; print the table."""
    store = open_crops(options.crops)
    few = hold_aside(store, 1.0 - options.share, _ASIDE_SEED)
    people = len(set(few.subjects(few.rows("train"))))
    print(f"{len(few.rows('train'))} faces of {people} people of train\n")
    print("| training | epochs | NME | interval | of the first |\n" + "|---" * 5 + "|")
    first = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        for name, changes in trainings(options.crops, Path(scratch)).items():
            changes["epochs"] = options.epochs or changes["epochs"]
            fixed = {"max_minutes": 1e6, "seed": _SEED}
            values: dict[str, object] = {f"train.{k}": v for k, v in (fixed | changes).items()}
            folder = Path(scratch, name)
            folder.mkdir()
            train_on(few, load_params(Path("params.yaml"), None, values).train, folder)
            faces = nme_of_faces(folder, store)
            low, high = interval(faces, store.subjects(store.rows("val")))
            mean = float(faces.mean())
            first = first or mean
            print(
                f"| {name} | {changes['epochs']} | {mean:.2%} | {low:.2%} to {high:.2%}"
                f" | {mean / first:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
