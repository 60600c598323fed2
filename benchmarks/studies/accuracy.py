"""NME, pixel errors and confidence of finished trainings, with intervals by resampling the people.

Each root holds crop/, train/ and evaluate/ of one training, as `fpenet STAGE --root` leaves them.
NME is by the square root of the face box's area, and as a share of the first training's. Of
the confidence: AUROC for points with a large error and for hidden points, the balanced accuracy of
"visible", and the calibration error.

    python -m benchmarks.studies.accuracy ROOT [ROOT ...] [--save]
"""

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.result_file import run_benchmark
from fpenet.data.crops.store import open_crops
from fpenet.kpi.metrics import face_errors, nme

MEASURES = ("fpenet.model.train", "fpenet.kpi.evaluate")
_RESAMPLES = 10_000
_REGIONS = ("all", "eyes", "mouth", "nose", "eyebrows", "chin")
_CONFIDENCE = {
    "AUROC, error": "auroc_large_error",
    "AUROC, hidden": "auroc_hidden",
    "visible": "visible_balanced_accuracy",
    "ECE": "ece",
}
"""Column -> key of ``confidence`` in kpi.json."""


def interval(faces: np.ndarray, subjects: list[str]) -> tuple[float, float]:
    """Of the mean of ``faces`` (N,), 95 %, by drawing people with all their faces."""
    names, index = np.unique(subjects, return_inverse=True)
    sums = np.bincount(index, weights=faces)
    counts = np.bincount(index)
    drawn = np.random.default_rng(35).integers(0, len(names), (_RESAMPLES, len(names)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("roots", type=Path, nargs="+")
    run_benchmark(parser, measure)


def measure(options: argparse.Namespace) -> None:
    """Read each training's predictions and KPI; print the table."""
    heads = ["training", "faces", "NME", "interval", "of the first", *_REGIONS, *_CONFIDENCE]
    print(f"| {' | '.join(heads)} |\n" + "|---" * len(heads) + "|")
    first = 0.0
    for root in options.roots:
        about = json.loads((root / "train/manifest.json").read_text())
        summary, train = about["summary"], about["params"]["train"]
        kpi = json.loads((root / "evaluate/kpi.json").read_text())
        store = open_crops(root / "crop")
        said = np.load(root / "evaluate/predictions.npz")
        found = face_errors(store, said["rows"], said["points"])
        faces = nme(found.errors, np.isfinite(found.errors), found.headline[1])
        low, high = interval(faces, store.subjects(said["rows"]))
        mean = float(faces.mean())
        first = first or mean
        name = f"{train['net']}, seed {train['seed']}, {summary['epochs']} epochs,"
        name += f" {summary['minutes']:.1f} minutes"
        cells = [name, str(len(faces)), f"{mean:.2%}", f"{low:.2%} to {high:.2%}"]
        cells += [f"{mean / first:.3f}"]
        cells += [f"{kpi['metrics'][f'crop_px/{region}']:.3f}" for region in _REGIONS]
        known = (kpi["confidence"][key] for key in _CONFIDENCE.values())
        cells += ["n/a" if value is None else f"{value:.3f}" for value in known]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
