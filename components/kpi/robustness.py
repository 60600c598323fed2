"""How a model bears what happens to faces in the field: an error curve for each corruption.

Input: a predict function, the crop store, levels of CORRUPTIONS. Does: the same faces at every
level, drawn evenly over people; points are taken back to the clean crop, so that all errors are in
its pixels. Output: JSON values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from components.data.crop_store import CropStore, Rows
from components.kpi.bootstrap import Resamples
from components.kpi.cells import cells_of, finite
from components.kpi.confidence import large_error_auroc
from components.kpi.corruptions import CORRUPTIONS, Shown, clean
from components.kpi.measured import measure
from components.kpi.predictions import Predict, predict_all
from components.params import EvaluateParams

MAIN_REGIONS = ("all", "eyes", "mouth")


def evenly(subjects: Sequence[str], count: int, seed: int) -> Rows:
    """``count`` of the faces, in order: one of each person by chance, then a second one, ...

    >>> evenly(["a", "a", "a", "b"], 2, seed=0).tolist()[1]
    3
    """
    chance = np.random.default_rng(seed)
    turn: dict[str, int] = {}
    turns: list[tuple[int, int, int]] = []
    for face in chance.permutation(len(subjects)):
        turn[subjects[face]] = turn.get(subjects[face], -1) + 1
        turns.append((turn[subjects[face]], len(turns), int(face)))
    return np.array(sorted(face for *_, face in sorted(turns)[:count]), dtype=np.int64)


def robustness_of(
    predict: Predict,
    store: CropStore,
    rows: Rows,
    regions: Mapping[str, Sequence[int]],
    evaluate: EvaluateParams,
) -> dict[str, Any]:
    """The error at every level of every corruption in ``evaluate.robustness.levels``.

    Args:
        rows: the judged faces.

    Returns:
        num_faces, num_subjects; ``clean``: metrics, intervals and auroc_large_error of the same
        faces as they are; ``curves``: rows of corruption, unit and levels, each level as ``clean``
        is. Metrics are crop_px, crop_px_visible (a covered point is hidden) and the headline NME of
        MAIN_REGIONS.
    """
    seed = evaluate.interval.seed
    chosen = rows[evenly(store.subjects(rows), evaluate.robustness.faces, seed)]
    regions = {name: regions[name] for name in MAIN_REGIONS if name in regions}
    subjects = store.subjects(chosen)
    resamples = Resamples.of(subjects, evaluate.interval)

    def at(shown: Shown) -> dict[str, Any]:
        points, confidence = predict_all(predict, shown.images, evaluate.batch_size)
        found = measure(store, chosen, shown.to_clean(points))
        headline = next(iter(found.norms))
        found = replace(
            found,
            visible=found.visible & ~shown.covered,
            norms={headline: found.norms[headline]},
        )
        units = ("crop_px", "crop_px_visible", f"nme_{headline}")
        cells = cells_of(found, regions).chosen(lambda name: name.rpartition("/")[0] in units)
        return {
            "metrics": finite(cells.means()),
            "intervals": resamples.intervals(cells),
            "auroc_large_error": large_error_auroc(found, confidence),
        }

    curves = []
    for corruption, levels in evaluate.robustness.levels.items():
        corrupt, unit = CORRUPTIONS[corruption]
        found = [
            {"level": level, **at(corrupt(store, chosen, level, np.random.default_rng(seed)))}
            for level in levels
        ]
        curves.append({"corruption": corruption, "unit": unit, "levels": found})
    return {
        "num_faces": len(chosen),
        "num_subjects": len(set(subjects)),
        "clean": at(clean(store, chosen)),
        "curves": curves,
    }
