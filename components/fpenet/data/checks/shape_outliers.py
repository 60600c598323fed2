"""Shape model of a set: aligned faces, their mean and principal components, robust to outliers.

Input: the points of all faces. Does: generalised Procrustes (similarity, no reflection) and
principal components on the best fitting share of the faces, iterated, so that wrong labels do not
change the model. Output: the distance of each face from its nearest other faces (a rare pose is not
an error), and whether its mirror image fits better (a left/right swap). No image is needed; a pure
shift cannot be detected here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpenet.data.checks.faces import Indices, LabelledFaces, Outcome, flag
from fpenet.data.sample import Bools, Floats
from fpenet.params import ValidateParams

Complex = NDArray[np.complex128]

_TRIMMED = 0.1  # share of the faces with the largest misfit, which are not used for the model
_ROUNDS = 4
_EXPLAINED = 0.97  # share of the variance that the components explain
_NOISE = 0.005  # of a face's size: usual error of a correct label
_FITTED = 20_000  # largest number of faces for the model, evenly over the set
_REFERENCES = 4000  # largest number of faces that a face is compared with, evenly over the set
_NEAREST = 5  # the fifth nearest face: a rare pose has near faces, a wrong label has none
_ROWS = 2048  # faces per batch
_SIDE_DEG = 75.0  # yaw beyond which the positions of left and right points coincide
_SWAP_REACH = 0.25  # of a face's size: regions whose mirrored points move less are not checked


@dataclass(frozen=True, slots=True)
class ShapeModel:
    """N faces in one frame: mean 0, root mean square 1 from it.

    Attributes:
        used: (K,) bool, the keypoints that most faces label; the others are ignored.
        mean: (K, 2); where a keypoint is not used, 0.
        modes: (M, K, 2) orthonormal components, largest first.
        spread: (M,) their standard deviations.
        distance: (N,) from the nearest faces of other subjects, in the space of the components and
            the residual, each divided by the square root of its standard deviation.
        points: (N, K, 2) image pixels; unlabelled points are replaced by those of the mean.
    """

    used: Bools
    mean: Floats
    modes: Floats
    spread: Floats
    distance: Floats
    points: Floats


def fit_shape_model(faces: LabelledFaces) -> ShapeModel | str:
    """Fit the shape model; the reason as text if there are too few common keypoints."""
    used = faces.labelled.mean(axis=0) >= 0.5
    if used.sum() < 4:
        return f"{used.sum()} keypoints are labelled in most faces; needs 4"
    rows = np.linspace(0, len(faces) - 1, min(len(faces), _FITTED)).round().astype(int)
    raw, labelled = _complex(faces.points[rows]), faces.labelled[rows] & used
    mean = _first_mean(raw, labelled, used)
    for _ in range(2):
        aligned, _ = _align(raw, labelled, mean)
        middle = np.median(aligned.real, axis=0) + 1j * np.median(aligned.imag, axis=0)
        mean = _unit(np.where(used, middle, 0))
    keep = np.ones(len(rows), bool)
    for _ in range(_ROUNDS):
        aligned, _ = _align(raw, labelled, mean)
        mean = _unit(aligned[keep].mean(axis=0))
        modes, spread, rest = _components(aligned[keep] - mean)
        along, left = _project(aligned - mean, modes, rest)
        misfit = ((along / spread) ** 2).mean(axis=1) + left**2 / rest
        keep = misfit <= np.quantile(misfit, 1 - _TRIMMED)
    coordinates = np.empty((len(faces), len(modes) + 1))
    filled = np.empty_like(faces.points)
    for start in range(0, len(faces), _ROWS):
        part = slice(start, start + _ROWS)
        points = faces.points[part]
        aligned, in_image = _align(_complex(points), faces.labelled[part] & used, mean)
        along, left = _project(aligned - mean, modes, rest)
        coordinates[part] = np.column_stack([along / np.sqrt(spread), left])
        filled[part] = np.where(faces.labelled[part][..., None], points, in_image)
    modes_xy = modes.reshape(len(modes), -1, 2)
    distance = _distance_to_others(
        coordinates, [faces.subject_of(row) for row in range(len(faces))]
    )
    return ShapeModel(used, _planar(mean), modes_xy, spread, distance, filled)


def _complex(points: Floats) -> Complex:
    """(N, K, 2) as (N, K) complex, 0 where unlabelled."""
    numbers: Complex = np.nan_to_num(points[..., 0] + 1j * points[..., 1])
    return numbers


def _planar(numbers: Complex) -> Floats:
    """(..., K) complex as (..., K, 2)."""
    return np.stack([numbers.real, numbers.imag], axis=-1)


def _unit(shape: Complex) -> Complex:
    """Centred, root mean square 1, over the keypoints that are not 0."""
    used = shape != 0
    centred = np.where(used, shape - shape[used].mean(), 0)
    unit: Complex = centred / np.sqrt((np.abs(centred) ** 2).sum() / used.sum())
    return unit


def _first_mean(raw: Complex, labelled: Bools, used: Bools) -> Complex:
    """Keypoints of the median face, centred and scaled but not rotated."""
    positions = np.where(labelled & used, raw, np.nan)
    count = np.maximum((labelled & used).sum(axis=1, keepdims=True), 1)
    centred = positions - np.nansum(positions, axis=1, keepdims=True) / count
    size = np.sqrt(np.nansum(np.abs(centred) ** 2, axis=1, keepdims=True) / count)
    unit = centred[:, used] / np.maximum(size, 1e-9)
    mean = np.zeros(raw.shape[1], complex)
    mean[used] = np.nanmedian(unit.real, axis=0) + 1j * np.nanmedian(unit.imag, axis=0)
    return _unit(mean)


def _align(raw: Complex, labelled: Bools, mean: Complex) -> tuple[Complex, Floats]:
    """Align each face to the mean by a similarity of its labelled points.

    Returns:
        (N, K) aligned faces, unlabelled points at the mean; (N, K, 2) the mean in each image.
    """
    count = np.maximum(labelled.sum(axis=1, keepdims=True), 1)
    centre = np.where(labelled, raw, 0).sum(axis=1, keepdims=True) / count
    middle = np.where(labelled, mean, 0).sum(axis=1, keepdims=True) / count
    centred, mean_centred = (
        np.where(labelled, raw - centre, 0),
        np.where(labelled, mean - middle, 0),
    )
    power = np.maximum((np.abs(centred) ** 2).sum(axis=1, keepdims=True), 1e-12)
    turn = (np.conj(centred) * mean_centred).sum(axis=1, keepdims=True) / power
    aligned = np.where(labelled, centred * turn + middle, mean)
    turn_safe = np.where(np.abs(turn) > 1e-12, turn, 1.0)
    in_image = (mean - middle) / turn_safe + centre
    return aligned, _planar(in_image)


def _components(deviations: Complex) -> tuple[Floats, Floats, float]:
    """(M, 2K) components, their standard deviations, and that of the residual."""
    flat = _planar(deviations).reshape(len(deviations), -1)
    values, vectors = np.linalg.eigh(flat.T @ flat / len(flat))
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    floor = _NOISE**2
    share = np.cumsum(values) / max(values.sum(), 1e-12)
    count = max(1, min(int(np.searchsorted(share, _EXPLAINED)) + 1, int((values > floor).sum())))
    rest = values[count:].sum() + floor * (len(values) - count)
    spread = np.sqrt(values[:count] + floor)
    return vectors[:, :count].T, spread, float(np.sqrt(rest))


def _project(deviations: Complex, modes: Floats, rest: float) -> tuple[Floats, Floats]:
    """(N, M) coordinates on the components; (N,) residual over the root of its deviation."""
    flat = _planar(deviations).reshape(len(deviations), -1)
    along = flat @ modes.T
    left = np.sqrt(np.maximum((flat**2).sum(axis=1) - (along**2).sum(axis=1), 0.0))
    return along, left / np.sqrt(rest)


def _distance_to_others(coordinates: Floats, subjects: list[str]) -> Floats:
    """(N,) distance of each row of ``coordinates`` (N, M) to the _NEAREST-th face of another
    subject."""
    rows = (
        np.linspace(0, len(coordinates) - 1, min(len(coordinates), _REFERENCES)).round().astype(int)
    )
    number = np.unique(subjects, return_inverse=True)[1]
    references, power = coordinates[rows], (coordinates[rows] ** 2).sum(axis=1)
    distance = np.empty(len(coordinates))
    for start in range(0, len(coordinates), _ROWS):
        part = slice(start, start + _ROWS)
        part_coordinates = coordinates[part]
        squared = (
            (part_coordinates**2).sum(axis=1)[:, None] + power - 2 * part_coordinates @ references.T
        )
        squared[number[part, None] == number[rows]] = np.inf
        nearest = min(_NEAREST, len(rows)) - 1
        distance[part] = np.partition(np.maximum(squared, 0.0), nearest, axis=1)[:, nearest]
    return np.sqrt(np.minimum(distance, 1e12))


def deviations_of(values: Floats) -> Floats:
    """``values`` (N,) > 0 as robust standard deviations of their logarithm from its median.

    >>> deviations_of(np.exp([-2.0, -1.0, 0.0, 1.0, 2.0])).round(2).tolist()
    [-1.35, -0.67, 0.0, 0.67, 1.35]
    """
    logs = np.log(np.maximum(values, 1e-9))
    middle = np.median(logs)
    width = 1.4826 * np.median(np.abs(logs - middle))
    deviations: Floats = (logs - middle) / max(float(width), 1e-9)
    return deviations


def find_unlike_shapes(shapes: ShapeModel, params: ValidateParams) -> Outcome:
    """Faces with an unusual shape: a wrong label, or a rare pose."""
    deviations = deviations_of(shapes.distance)
    limit = params.models.max_shape_deviations

    def detail(row: int) -> str:
        return f"{deviations[row]:.1f} deviations from the other shapes; at most {limit:g}"

    return flag(deviations / limit, detail, components=len(shapes.modes))


def find_swapped(faces: LabelledFaces, shapes: ShapeModel, params: ValidateParams) -> Outcome:
    """Left and right swapped, in the whole face or in one region.

    After an exchange of the points of each mirror pair a swapped face is much nearer to the mean.
    In a profile the two points of a pair coincide: faces with a larger yaw label are not checked.
    """
    scheme = faces.scheme
    if scheme.flip_map is None:
        return Outcome({}, skipped=f"no mirror partners are known for {len(shapes.mean)} keypoints")
    if not all(shapes.used[scheme.flip_map[k]] for k in np.flatnonzero(shapes.used)):
        return Outcome({}, skipped="some keypoints are labelled on one side only")
    flip = np.array(scheme.flip_map)
    regions = {"the face": np.arange(len(flip))}
    for name in sorted(set(scheme.regions) - {"all", "head_pose"}):
        region = np.array(scheme.regions[name])
        moved = np.linalg.norm(shapes.mean[flip[region]] - shapes.mean[region], axis=1)
        if set(flip[region]) == set(region) and moved.mean() > _SWAP_REACH:
            regions[name] = region
    unswapped = _misfit(shapes, np.arange(len(flip)))
    gains = {}
    for name, region in regions.items():
        order = np.arange(len(flip))
        order[region] = flip[region]
        gains[name] = unswapped / np.maximum(_misfit(shapes, order), 1e-12)
    names = list(gains)
    table = np.stack([gains[name] for name in names])
    worst, gain = table.argmax(axis=0), table.max(axis=0)
    turned = [
        isinstance(yaw, float | int) and abs(yaw) > _SIDE_DEG for yaw in faces.attribute("yaw")
    ]
    gain[turned] = np.nan
    limit = params.models.min_swap_gain

    def detail(row: int) -> str:
        return (
            f"left and right of {names[worst[row]]}: mirrored, it fits {gain[row]:.1f} times better"
        )

    return flag(gain / limit, detail, regions=names)


def _misfit(shapes: ShapeModel, order: Indices) -> Floats:
    """(N,) squared distance of the faces from the mean, with their points in ``order``."""
    misfit = np.empty(len(shapes.points))
    mean = shapes.mean[:, 0] + 1j * shapes.mean[:, 1]
    for start in range(0, len(misfit), _ROWS):
        raw = _complex(shapes.points[start : start + _ROWS, order])
        aligned, _ = _align(raw, np.broadcast_to(shapes.used, raw.shape), mean)
        misfit[start : start + _ROWS] = (np.abs(aligned - mean) ** 2).sum(axis=1)
    return misfit
