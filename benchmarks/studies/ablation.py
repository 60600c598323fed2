"""What each choice of the recipe is worth: short trainings that differ from it in one thing.

Chosen by people of ``train`` that are held aside, as in a sweep; the judged part takes no part.
They are seen as they are, and as another camera and detector might give them (``harder``). Each
line goes to the file of ``--results`` when its training has ended, and is not run again.

    python -m benchmarks.studies.ablation --crops dvc/crop --results ablation.jsonl [--epochs 10]
        [--seeds 35] [--only "l1" "wing"] [--save]
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.result_file import run_benchmark
from benchmarks.studies.harder import harder_faces
from fpenet.data.crops.store import CropStore, hold_aside, open_crops
from fpenet.kpi.evaluate import predict_all
from fpenet.kpi.metrics import point_errors
from fpenet.model.checkpoint import load_net
from fpenet.model.evaluate import torch_predict
from fpenet.model.train import train_on
from fpenet.params import load_params

MEASURES = ("fpenet.model.train",)
VARIANTS: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "l1": {"loss": "l1"},
    "square_euclidean": {"loss": "square_euclidean"},
    "wing": {"loss": "wing"},
    "no loss on heat maps": {"heatmap_weight": 0.0},
    "cross_entropy for js": {"heatmap_loss": "cross_entropy", "heatmap_weight": 1.0},
    "no sharpening": {"augment.sharpen_probability": 0.0},
    "no shade": {"augment.shade": 0.0},
    "no light, no noise": {
        "augment.gamma": 0.0,
        "augment.contrast": 0.0,
        "augment.shade": 0.0,
        "augment.noise": 0.0,
    },
    "more light": {"augment.gamma": 0.8, "augment.contrast": 0.6, "augment.shade": 0.8},
    "half the moves": {"augment.rotate_deg": 10.0, "augment.zoom": 0.1, "augment.shift_px": 4.0},
    "no blur, full resolution": {
        "augment.blur_probability": 0.0,
        "augment.low_resolution_probability": 0.0,
    },
    "no patches": {"augment.patch_probability": 0.0},
    "no flips": {"augment.flip_probability": 0.0},
    "region weights": {"region_weights": {"face": 0.35, "eyes": 0.4, "mouth": 0.25}},
    "elt 0.5": {"elt_weight": 0.5},
    "no confidence": {"confidence_weight": 0.0},
    "no average": {"ema_decay": 0.0},
    "no flat phase": {"flat_fraction": 0.0},
    "no weak end": {"weak_fraction": 0.0},
    "no warm-up": {"warmup_fraction": 0.0},
    "no weight decay": {"weight_decay": 0.0},
    "learning rate 0.002": {"learning_rate": 0.002},
    "learning rate 0.008": {"learning_rate": 0.008},
}


def harder_px(store: CropStore, train_dir: Path) -> float:
    """Mean error on the harder views of the faces held aside, crop pixels."""
    images, target, _ = harder_faces(store, store.rows("val"))
    points, _ = predict_all(torch_predict(load_net(train_dir)[0]), images, 64)
    return float(np.nanmean(point_errors(points, target)))


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[35])
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), help="beside the recipe")
    run_benchmark(parser, measure)


def measure(options: argparse.Namespace) -> None:
    """Train what is not in the results yet; print the table."""
    unknown = sorted(set(options.only) - set(VARIANTS))
    if unknown:
        raise SystemExit(f"--only: {', '.join(unknown)}; known are {', '.join(VARIANTS)}")
    variants = {name: VARIANTS[name] for name in dict.fromkeys(["the recipe", *options.only])}
    sweep = load_params(Path("params.yaml"), None, {}).sweep
    store = hold_aside(open_crops(options.crops), sweep.aside_fraction, sweep.aside_seed)
    done: dict[tuple[str, int], tuple[float, float]] = {}
    if options.results.exists():
        lines = map(json.loads, options.results.read_text().splitlines())
        done = {(line["variant"], line["seed"]): (line["px"], line["harder"]) for line in lines}
    for seed in options.seeds:
        for name, changes in variants.items():
            if (name, seed) in done:
                continue
            fixed = {"epochs": options.epochs, "max_minutes": 1e6, "seed": seed}
            given = {f"train.{key}": value for key, value in (fixed | changes).items()}
            train = load_params(Path("params.yaml"), None, given).train
            with tempfile.TemporaryDirectory() as folder:
                summary = train_on(store, train, Path(folder))
                found = summary["val_crop_px"], harder_px(store, Path(folder))
            done[name, seed] = found
            line = {"variant": name, "seed": seed, "px": found[0], "harder": found[1]}
            with options.results.open("a") as file:
                file.write(json.dumps(line) + "\n")
    means = {
        name: np.mean([done[name, seed] for seed in options.seeds], axis=0) for name in variants
    }
    print(f"{'variant':<28}{'px':>8}{'to the recipe':>15}{'harder px':>12}{'to the recipe':>15}")
    for name, (plain, harder) in means.items():
        gain, harder_gain = np.array([plain, harder]) / means["the recipe"] - 1
        print(f"{name:<28}{plain:>8.3f}{gain:>+15.1%}{harder:>12.3f}{harder_gain:>+15.1%}")


if __name__ == "__main__":
    main()
