"""Robustness of a model to image corruptions: an error curve for each corruption.

Input: a predict function, the crop store, levels of CORRUPTIONS. Does: corrupts the same faces,
sampled evenly over subjects, at every level; predicted points are mapped back to the clean crop, so
that all errors are in its pixels. Output: the report.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from fpenet.core.records import fields_of
from fpenet.data.crops.geometry import CropBox, cut
from fpenet.data.crops.store import CROP_PX, CropStore, Greys, Rows
from fpenet.kpi.bootstrap import Interval, Resamples
from fpenet.kpi.confidence import large_error_auroc
from fpenet.kpi.metric_table import finite, metric_table
from fpenet.kpi.metrics import Bools, Floats, face_errors
from fpenet.kpi.predictions import Predict, predict_all
from fpenet.params import EvaluateParams

MAIN_REGIONS = ("all", "eyes", "mouth")


@dataclass(frozen=True, slots=True)
class RobustnessErrors:
    """The errors of some faces; see ``KpiReport`` for the names of the metrics."""

    metrics: Mapping[str, float | None]
    intervals: Mapping[str, Interval | None]
    auroc_large_error: float | None


@dataclass(frozen=True, slots=True)
class RobustnessLevel(RobustnessErrors):
    """The errors at one level of a corruption."""

    level: float


@dataclass(frozen=True, slots=True)
class RobustnessCurve:
    """The errors at every level of one corruption; ``unit`` is that of the levels, in words."""

    corruption: str
    unit: str
    levels: tuple[RobustnessLevel, ...]


@dataclass(frozen=True, slots=True)
class RobustnessReport:
    """Error curves under corruptions.

    Attributes:
        clean: the same faces without corruption.
    """

    num_faces: int
    num_subjects: int
    clean: RobustnessErrors
    curves: tuple[RobustnessCurve, ...]


def evenly(subjects: Sequence[str], count: int, seed: int) -> Rows:
    """Sorted indices of ``count`` faces: a random face of each subject, then a second face, ...

    >>> evenly(["a", "a", "a", "b"], 2, seed=0).tolist()[1]
    3
    """
    rng = np.random.default_rng(seed)
    faces_taken: dict[str, int] = {}
    order: list[tuple[int, int, int]] = []
    for face in rng.permutation(len(subjects)):
        faces_taken[subjects[face]] = faces_taken.get(subjects[face], -1) + 1
        order.append((faces_taken[subjects[face]], len(order), int(face)))
    return np.array(sorted(face for *_, face in sorted(order)[:count]), dtype=np.int64)


def robustness_of(
    predict: Predict,
    store: CropStore,
    rows: Rows,
    regions: Mapping[str, Sequence[int]],
    evaluate: EvaluateParams,
) -> RobustnessReport:
    """The error at every level of every corruption in ``evaluate.robustness.levels``.

    Metrics are crop_px, crop_px_visible (a covered point counts as hidden) and the headline NME of
    MAIN_REGIONS.

    Args:
        rows: the evaluation faces.
    """
    seed = evaluate.interval.seed
    chosen = rows[evenly(store.subjects(rows), evaluate.robustness.faces, seed)]
    regions = {name: regions[name] for name in MAIN_REGIONS if name in regions}
    subjects = store.subjects(chosen)
    resamples = Resamples.of(subjects, evaluate.interval)

    def evaluate_faces(faces: CorruptedFaces) -> RobustnessErrors:
        points, confidence = predict_all(predict, faces.images, evaluate.batch_size)
        errors = face_errors(store, chosen, faces.to_clean(points))
        headline, norm = errors.headline
        errors = replace(
            errors,
            visible=errors.visible & ~faces.covered,
            norms={headline: norm},
        )
        units = ("crop_px", "crop_px_visible", f"nme_{headline}")
        table = metric_table(errors, regions).chosen(lambda name: name.rpartition("/")[0] in units)
        return RobustnessErrors(
            finite(table.means()),
            resamples.intervals(table),
            large_error_auroc(errors, confidence),
        )

    curves = []
    for corruption, levels in evaluate.robustness.levels.items():
        corrupt, unit = CORRUPTIONS[corruption]
        results = []
        for level in levels:
            faces = corrupt(store, chosen, level, np.random.default_rng(seed))
            results.append(RobustnessLevel(**fields_of(evaluate_faces(faces)), level=level))
        curves.append(RobustnessCurve(corruption, unit, tuple(results)))
    return RobustnessReport(
        num_faces=len(chosen),
        num_subjects=len(set(subjects)),
        clean=evaluate_faces(clean(store, chosen)),
        curves=tuple(curves),
    )


_CENTER = (CROP_PX - 1) / 2


@dataclass(frozen=True, slots=True)
class CorruptedFaces:
    """Corrupted crops, with the geometry that maps their points back to the clean crops.

    Attributes:
        images: (N, 1, 80, 80) uint8.
        moved: (N, 2) offset of the crop centre from that of the clean crop, clean crop pixels.
        scale: (N,) side of the crop divided by that of the clean crop.
        covered: (N, K) bool, keypoints that the corruption covers.
    """

    images: Greys
    moved: Floats
    scale: Floats
    covered: Bools

    def to_clean(self, points: Floats) -> Floats:
        """Map points (N, K, 2) from these crops to the clean crops, pixels."""
        centred = (points - _CENTER) * self.scale[:, None, None]
        return centred + self.moved[:, None] + _CENTER


def clean(store: CropStore, rows: Rows) -> CorruptedFaces:
    """The faces without corruption."""
    count = len(rows)
    return CorruptedFaces(
        store.images(rows),
        np.zeros((count, 2)),
        np.ones(count),
        np.zeros((count, store.num_keypoints), bool),
    )


def reframed(store: CropStore, rows: Rows, moved: Floats, scale: Floats) -> CorruptedFaces:
    """The faces cropped with other boxes: shifted by (N, 2) clean crop pixels, scaled by (N,)."""
    margin = store.crops.shape[1]
    middle = (margin - 1) / 2
    boxes = [
        CropBox(middle + float(dx), middle + float(dy), CROP_PX * float(side))
        for (dx, dy), side in zip(moved, scale, strict=True)
    ]
    images = [
        cut(np.asarray(store.crops[row]), box, CROP_PX)
        for row, box in zip(rows, boxes, strict=True)
    ]
    return replace(clean(store, rows), images=np.stack(images)[:, None], moved=moved, scale=scale)


Corruption = Callable[[CropStore, Rows, float, np.random.Generator], CorruptedFaces]


def shift(store: CropStore, rows: Rows, level: float, rng: np.random.Generator) -> CorruptedFaces:
    """Shift the face box by ``level`` times the crop's side in a random direction."""
    angle = rng.uniform(0.0, 2 * np.pi, len(rows))
    moved = CROP_PX * level * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return reframed(store, rows, moved, np.ones(len(rows)))


def scale(store: CropStore, rows: Rows, level: float, rng: np.random.Generator) -> CorruptedFaces:
    """Scale the face box by ``level``."""
    return reframed(store, rows, np.zeros((len(rows), 2)), np.full(len(rows), level))


def gamma(store: CropStore, rows: Rows, level: float, rng: np.random.Generator) -> CorruptedFaces:
    """Gamma: grey levels (0 to 1) to the power of ``level``; below 1 brighter, above 1 darker."""
    faces = clean(store, rows)
    table = np.rint(255 * (np.arange(256) / 255) ** level).astype(np.uint8)
    return replace(faces, images=table[faces.images])


def blur(store: CropStore, rows: Rows, level: float, rng: np.random.Generator) -> CorruptedFaces:
    """Gaussian blur with a standard deviation of ``level`` crop pixels; edges are repeated."""
    faces = clean(store, rows)
    reach = int(np.ceil(3 * level))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / level) ** 2)
    taps /= taps.sum()
    images = faces.images.astype(np.float64)
    for axis in (2, 3):
        width = [(0, 0)] * 4
        width[axis] = (reach, reach)
        padded = np.pad(images, width, mode="edge")
        images = sum(
            tap * np.take(padded, np.arange(offset, offset + CROP_PX), axis=axis)
            for offset, tap in enumerate(taps)
        )
    return replace(faces, images=np.rint(images).astype(np.uint8))


def noise(store: CropStore, rows: Rows, level: float, rng: np.random.Generator) -> CorruptedFaces:
    """Gaussian noise with a standard deviation of ``level`` grey levels (0 to 255)."""
    faces = clean(store, rows)
    noisy = faces.images + level * rng.standard_normal(faces.images.shape)
    return replace(faces, images=np.clip(np.rint(noisy), 0, 255).astype(np.uint8))


def jpeg(store: CropStore, rows: Rows, level: float, rng: np.random.Generator) -> CorruptedFaces:
    """Compress the crop as JPEG of quality ``level``."""

    def coded(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(level))
        return Image.open(file, formats=("JPEG",))

    return _changed(clean(store, rows), coded)


def low_resolution(
    store: CropStore, rows: Rows, level: float, rng: np.random.Generator
) -> CorruptedFaces:
    """Reduce the crop to a width of ``level`` pixels, and enlarge it again."""
    small = (int(level), int(level))
    bilinear = Image.Resampling.BILINEAR
    return _changed(
        clean(store, rows),
        lambda image: image.resize(small, bilinear).resize((CROP_PX, CROP_PX), bilinear),
    )


def patch(store: CropStore, rows: Rows, level: float, rng: np.random.Generator) -> CorruptedFaces:
    """Cover a random square of side ``level`` times the crop's with one grey level."""
    faces = clean(store, rows)
    side = round(CROP_PX * level)
    corner = rng.integers(0, CROP_PX - side + 1, (len(rows), 2))
    images = faces.images.copy()
    for image, (x, y), grey in zip(images, corner, rng.integers(0, 256, len(rows)), strict=True):
        image[0, y : y + side, x : x + side] = grey
    points = store.points_crop(rows)
    inside = (points >= corner[:, None] - 0.5) & (points <= corner[:, None] + side - 0.5)
    return replace(faces, images=images, covered=inside[:, :, 0] & inside[:, :, 1])


def _changed(faces: CorruptedFaces, change: Callable[[Image.Image], Image.Image]) -> CorruptedFaces:
    images = [np.asarray(change(Image.fromarray(image[0]))) for image in faces.images]
    return replace(faces, images=np.stack(images)[:, None])


CORRUPTIONS: dict[str, tuple[Corruption, str]] = {
    "shift": (shift, "of the crop's side, in a random direction"),
    "scale": (scale, "times the size of the face box"),
    "gamma": (gamma, "exponent of the grey levels"),
    "blur": (blur, "px, standard deviation"),
    "noise": (noise, "grey levels of 255, standard deviation"),
    "jpeg": (jpeg, "JPEG quality"),
    "low_resolution": (low_resolution, "px, width of the crop before it is enlarged"),
    "patch": (patch, "of the crop's side, a square of one grey"),
}
"""Name -> function, and the unit of its level."""
