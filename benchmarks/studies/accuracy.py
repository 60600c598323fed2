"""NME and pixel errors of finished trainings, with an interval from resampling the people.

Each root holds crop/, train/ and evaluate/ of one training, as `fpenet STAGE --root` leaves them.

    python -m benchmarks.studies.accuracy ROOT [ROOT ...]
"""

import argparse
import json
from pathlib import Path

import numpy as np

from components.data.crop_store import open_crops
from components.keypoints import scheme_for
from components.kpi.metrics import interocular, nme, point_errors

_RESAMPLES = 10_000
_REGIONS = ("all", "eyes", "mouth", "nose", "eyebrows", "chin")


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
    options = parser.parse_args()
    print(f"{'training':<34}{'NME':>7}{'95 % interval':>17}", end="")
    print("".join(f"{region:>10}" for region in _REGIONS), " px of the crop")
    for root in options.roots:
        about = json.loads((root / "train/manifest.json").read_text())
        summary, train = about["summary"], about["params"]["train"]
        metrics = json.loads((root / "evaluate/kpi.json").read_text())["metrics"]
        store = open_crops(root / "crop")
        said = np.load(root / "evaluate/predictions.npz")
        target = store.points_crop(said["rows"])
        corners = scheme_for(store.num_keypoints).eye_corners
        assert corners is not None
        errors = point_errors(said["points"], target)
        faces = nme(errors, np.isfinite(errors), interocular(target, corners))
        low, high = interval(faces, store.subjects(said["rows"]))
        name = f"{train['net']}, seed {train['seed']}, {summary['minutes']:.1f} min"
        name += f", {summary['epochs']} ep"
        print(f"{name:<34}{faces.mean():>7.2%}{f'{low:.2%} to {high:.2%}':>17}", end="")
        print("".join(f"{metrics[f'crop_px/{region}']:>10.3f}" for region in _REGIONS))


if __name__ == "__main__":
    main()
