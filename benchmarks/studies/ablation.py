"""What each choice of the recipe is worth: short trainings that differ from it in one thing.

Chosen by people of ``train`` that are held aside; the judged part takes no part. Each line goes to
the results file when its training has ended, and is not run again.

    python -m benchmarks.studies.ablation --crops dvc/crop --results ablation.jsonl [--epochs 6]
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from components.data.crop_store import hold_aside, open_crops
from components.model.train import train_on
from components.params import load_params

VARIANTS: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "l1": {"loss": "l1"},
    "square_euclidean": {"loss": "square_euclidean"},
    "wing": {"loss": "wing"},
    "no loss on heat maps": {"heatmap_weight": 0.0},
    "js for cross_entropy": {"heatmap_loss": "js"},
    "js, weight 10": {"heatmap_loss": "js", "heatmap_weight": 10.0},
    "region weights": {"region_weights": {"face": 0.35, "eyes": 0.4, "mouth": 0.25}},
    "elt 0.5": {"elt_weight": 0.5},
    "no confidence": {"confidence_weight": 0.0},
    "no average": {"ema_decay": 0.0},
    "no flat phase": {"flat_fraction": 0.0},
    "no weak end": {"weak_fraction": 0.0},
    "no warm-up": {"warmup_fraction": 0.0},
    "no flips": {"augment.flip_probability": 0.0},
    "no patches": {"augment.patch_probability": 0.0},
    "no blur, full resolution": {
        "augment.blur_probability": 0.0,
        "augment.low_resolution_probability": 0.0,
    },
    "no light": {"augment.gamma": 0.0, "augment.contrast": 0.0, "augment.noise": 0.0},
    "half the moves": {"augment.rotate_deg": 10.0, "augment.zoom": 0.1, "augment.shift_px": 4.0},
    "learning rate 0.002": {"learning_rate": 0.002},
    "learning rate 0.008": {"learning_rate": 0.008},
    "batch 64": {"batch_size": 64},
}


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[35])
    options = parser.parse_args()
    store = hold_aside(open_crops(options.crops), 0.1, 35)
    done: dict[tuple[str, int], float] = {}
    if options.results.exists():
        lines = map(json.loads, options.results.read_text().splitlines())
        done = {(line["variant"], line["seed"]): line["px"] for line in lines}
    for seed in options.seeds:
        for name, changes in VARIANTS.items():
            if (name, seed) in done:
                continue
            fixed = {"epochs": options.epochs, "max_minutes": 1e6, "seed": seed}
            given = {f"train.{key}": value for key, value in (fixed | changes).items()}
            train = load_params(Path("params.yaml"), None, given).train
            with tempfile.TemporaryDirectory() as folder:
                summary = train_on(store, train, Path(folder))
            done[name, seed] = summary["val_crop_px"]
            line = {"variant": name, "seed": seed, "px": summary["val_crop_px"]}
            with options.results.open("a") as file:
                file.write(json.dumps(line) + "\n")
    best = sum(done["the recipe", seed] for seed in options.seeds) / len(options.seeds)
    print(f"{'variant':<28}{'px of the crop':>15}{'to the recipe':>15}")
    for name in VARIANTS:
        mean = sum(done[name, seed] for seed in options.seeds) / len(options.seeds)
        print(f"{name:<28}{mean:>15.3f}{mean / best - 1:>+15.1%}")


if __name__ == "__main__":
    main()
