"""Appearance model: detects from the image whether all points are shifted, or a region is wrong.

Input: the window of each face (see ``window``) and its points. Does: supervised descent by ridge
regression: displaces the points of faces at random, and learns to predict the displacement from
image features at the points. A face is predicted by a model of other subjects. Output: for each
face the shift of all its points, and the distance of each region from its predicted position. It
takes seconds and needs no trained net and no face box (a box from shifted points is shifted too).
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np

from fpenet.data.checks.faces import Indices, LabelledFaces, Outcome, flag
from fpenet.data.checks.shape_outliers import ShapeModel, deviations_of
from fpenet.data.checks.window import Features, Grey, slope_maps, window_features
from fpenet.data.sample import Bools, Floats
from fpenet.params import ValidateParams
from fpenet.provenance.digest import digest_bytes

_LOOKED_AT = 34  # largest number of points with features, evenly over the scheme
_FOLDS = 3
_FITTED = 6000  # largest number of training faces, evenly over the set
_MOVES = 6  # random displacements of each training face
_FAR, _NEAR = 0.2, 0.05  # sides: largest first shift; deviation of the remaining shift
_BENT, _MOVED, _SCALED = 0.5, 0.03, 0.1  # of a mode's deviation; of a side; of a region's size
_RIDGE = 1e-3  # of the mean power of a feature
_ROWS = 128  # faces at a time


@dataclass(frozen=True, slots=True)
class AppearanceModel:
    """Predicted label errors of N faces, in sides of the square about the points.

    Attributes:
        shift: (N, 2) from the predicted position of the face to its labelled points.
        regions: region name -> (N,) mean distance of its points from their predicted positions;
            NaN if no point is labelled.
    """

    shift: Floats
    regions: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums for a ridge regression of targets (n, T) on features (n, D)."""

    xx: Floats
    xy: Floats
    x: Floats
    y: Floats
    count: Floats

    def __add__(self, reference: "_Sums") -> "_Sums":
        pairs = ((getattr(self, f.name), getattr(reference, f.name)) for f in fields(self))
        return _Sums(*(a + b for a, b in pairs))


@dataclass(frozen=True, slots=True)
class _Line:
    """A ridge regression: targets = features @ weights + constant."""

    weights: Features
    constant: Features

    def predict(self, features: Features) -> Features:
        return features @ self.weights + self.constant


class _Scene:
    """The points of all faces in their windows, and random displacements of them."""

    def __init__(self, faces: LabelledFaces, shapes: ShapeModel, windows: Grey) -> None:
        squares = faces.squares
        self.windows = windows
        self.points = (shapes.points - squares[:, None, :2]) / np.maximum(squares[:, None, 2:], 1.0)
        count = self.points.shape[1]
        evenly = np.linspace(0, count - 1, min(count, _LOOKED_AT))
        self.looked_at = np.unique(evenly.round().astype(int))
        regions = faces.scheme.regions
        names = [name for name in regions if name not in ("all", "head_pose")] or ["all"]
        self.regions = {name: list(regions[name]) for name in names}
        self.modes = shapes.modes * shapes.spread[:, None, None]

    def features_at(self, maps: Features, rows: Indices, moved: Floats | Features) -> Features:
        """(n, D) image features at the points of ``rows``, displaced by ``moved`` (n, K, 2)
        sides."""
        return window_features(maps, (self.points[rows] + moved)[:, self.looked_at])

    def shifts(self, rows: Indices, random: np.random.Generator) -> Floats:
        """(n, K, 2) random shifts, equal for all points of a face, up to _FAR."""
        moves = random.uniform(-_FAR, _FAR, (len(rows), 1, 2))
        return np.repeat(moves, self.points.shape[1], axis=1)

    def bends(self, rows: Indices, random: np.random.Generator) -> Floats:
        """(n, K, 2) random small shifts, shape changes, and shifts and scales of each region."""
        count, points = len(rows), self.points[rows]
        size = np.sqrt(points.var(axis=1).sum(axis=1))
        moved = np.repeat(random.normal(0, _NEAR, (count, 1, 2)), points.shape[1], axis=1)
        along = random.normal(0, _BENT, (count, len(self.modes))) * size[:, None]
        moved += np.tensordot(along, self.modes, axes=1)
        for region in self.regions.values():
            of_region = points[:, region]
            centred = of_region - of_region.mean(axis=1, keepdims=True)
            moved[:, region] += random.normal(0, _MOVED, (count, 1, 2))
            moved[:, region] += random.normal(0, _SCALED, (count, 1, 1)) * centred
        return moved


def fit_appearance(
    faces: LabelledFaces, shapes: ShapeModel, windows: Grey
) -> AppearanceModel | str:
    """Fit the appearance model; the reason as text if there are too few subjects.

    Args:
        windows: (N, WINDOW_PX, WINDOW_PX) grey levels.
    """
    subjects = [faces.subject_of(row) for row in range(len(faces))]
    folds = np.array([int(digest_bytes(name.encode())[:8], 16) % _FOLDS for name in subjects])
    if len(np.unique(folds)) < _FOLDS:
        return f"{len(set(subjects))} subjects are too few for {_FOLDS} folds of subjects"
    scene = _Scene(faces, shapes, windows)
    rows = np.linspace(0, len(faces) - 1, min(len(faces), _FITTED)).round().astype(int)
    far, near = _learn(scene, [rows[folds[rows] == fold] for fold in range(_FOLDS)])
    shift, errors = np.empty((len(faces), 2)), np.empty(faces.points.shape, np.float32)

    def judge(part: Indices) -> None:
        maps = slope_maps(windows[part])
        fold = int(folds[part[0]])
        features = scene.features_at(maps, part, np.zeros((len(part), 1, 2)))
        moved = far[fold].predict(features)
        remainder = near[fold].predict(scene.features_at(maps, part, -moved[:, None]))
        shift[part] = moved + remainder.reshape(len(part), -1, 2).mean(axis=1)
        first = near[fold].predict(features).reshape(len(part), -1, 2)
        second = near[fold].predict(scene.features_at(maps, part, -first))
        errors[part] = first + second.reshape(first.shape)

    all_rows = np.arange(len(faces))
    with ThreadPoolExecutor() as pool:
        parts = (part for fold in range(_FOLDS) for part in _parts(all_rows[folds == fold]))
        list(pool.map(judge, parts))
    distance = np.linalg.norm(errors, axis=2).astype(float)
    return AppearanceModel(
        shift,
        {
            name: _mean_where(distance[:, region], faces.labelled[:, region])
            for name, region in scene.regions.items()
        },
    )


def _parts(rows: Indices) -> Iterator[Indices]:
    for start in range(0, len(rows), _ROWS):
        yield rows[start : start + _ROWS]


def _mean_where(values: Floats, where: Bools) -> Floats:
    """(N,) mean of the values of each row where ``where``; NaN without any."""
    count = where.sum(axis=1)
    mean: Floats = np.where(where, values, 0.0).sum(axis=1) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan)


def _learn(scene: _Scene, rows_of: list[Indices]) -> tuple[list[_Line], list[_Line]]:
    """For each fold, regressions fitted on the other folds: for large shifts, and for the rest."""

    def collect(job: tuple[int, Indices]) -> tuple[_Sums, _Sums]:
        number, part = job
        random = np.random.default_rng(number)
        maps = slope_maps(scene.windows[part])
        shifts = [scene.shifts(part, random) for _ in range(_MOVES)]
        bends = [scene.bends(part, random) for _ in range(_MOVES)]
        return (
            _sum(scene, maps, part, shifts, [moved[:, :1] for moved in shifts]),
            _sum(scene, maps, part, bends, bends),
        )

    jobs = [(fold, part) for fold, rows in enumerate(rows_of) for part in _parts(rows)]
    far: list[_Sums | None] = [None] * len(rows_of)
    near: list[_Sums | None] = [None] * len(rows_of)
    with ThreadPoolExecutor() as pool:
        collected = pool.map(collect, enumerate(part for _, part in jobs))
        for (fold, _), (far_part, near_part) in zip(jobs, collected, strict=True):
            for sums, part_sums in ((far, far_part), (near, near_part)):
                partial = sums[fold]
                sums[fold] = part_sums if partial is None else partial + part_sums
    return _solve_each(far), _solve_each(near)


def _sum(
    scene: _Scene, maps: Features, part: Indices, moves: list[Floats], targets: list[Floats]
) -> _Sums:
    x = np.concatenate([scene.features_at(maps, part, moved) for moved in moves])
    y = np.concatenate([target.reshape(len(part), -1) for target in targets]).astype(np.float32)
    arrays = (x.T @ x, x.T @ y, x.sum(axis=0), y.sum(axis=0), np.array(len(x)))
    return _Sums(*(array.astype(np.float64) for array in arrays))


def _solve_each(sums: list[_Sums | None]) -> list[_Line]:
    """For each fold the regression on all other folds."""
    lines = []
    for fold in range(len(sums)):
        remaining = [
            part for number, part in enumerate(sums) if number != fold and part is not None
        ]
        total = remaining[0]
        for part in remaining[1:]:
            total = total + part
        lines.append(_solve(total))
    return lines


def _solve(sums: _Sums) -> _Line:
    mean_x, mean_y = sums.x / sums.count, sums.y / sums.count
    square = sums.xx - np.outer(mean_x, sums.x)
    square[np.diag_indices_from(square)] += _RIDGE * np.trace(square) / len(square) + 1e-9
    weights = np.linalg.solve(square, sums.xy - np.outer(mean_x, sums.y))
    constant = mean_y - mean_x @ weights
    return _Line(weights.astype(np.float32), constant.astype(np.float32))


def find_shifted(appearance: AppearanceModel, params: ValidateParams) -> Outcome:
    """Faces whose points are all shifted from the position in the image."""
    shift = np.linalg.norm(appearance.shift, axis=1)
    limit = params.models.max_shift

    def detail(row: int) -> str:
        x, y = appearance.shift[row]
        return f"points ({x:+.2f}, {y:+.2f}) of the face's size off the image; at most {limit:g}"

    return flag(shift / limit, detail, median=round(float(np.median(shift)), 4))


def find_unlike_appearance(appearance: AppearanceModel, params: ValidateParams) -> Outcome:
    """Faces with a region that is not at its position in the image."""
    names = list(appearance.regions)
    medians = {name: float(np.nanmedian(appearance.regions[name])) for name in names}
    ratios = np.stack([appearance.regions[name] / medians[name] for name in names])
    ratios = np.where(np.isnan(ratios), 0.0, ratios)
    worst, ratio = ratios.argmax(axis=0), ratios.max(axis=0)
    deviations = deviations_of(ratio)
    limit = params.models.max_picture_deviations

    def detail(row: int) -> str:
        name = names[worst[row]]
        share = appearance.regions[name][row]
        return (
            f"{name} {share:.2f} of the face's size off the image on average,"
            f" {deviations[row]:.1f} deviations; at most {limit:g}"
        )

    rounded = {name: round(value, 4) for name, value in medians.items()}
    return flag(deviations / limit, detail, medians=rounded)
