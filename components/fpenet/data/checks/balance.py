"""Balance: the number of faces of each yaw class and each light class.

If the labels have no yaw, it is estimated from the points (offset of the nose tip from the middle
of the jaw, divided by the jaw's width); without labels, light is estimated from the window:
brightness, and difference of the halves.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from fpenet.data.checks.faces import LabelledFaces, Outcome
from fpenet.data.checks.shape_outliers import ShapeModel
from fpenet.data.checks.window import Grey
from fpenet.data.sample import Floats
from fpenet.params import ValidateParams

YAW_CLASSES = ("left profile", "turned left", "frontal", "turned right", "right profile")
_YAW_DEG = (-52.5, -22.5, 22.5, 52.5)
_YAW_PROXY = (-0.25, -0.1, 0.1, 0.25)  # nose-tip offset over jaw width
_NOSE_TIP = 3  # of the region ``nose``
LIGHT_CLASSES = ("dark", "from the left", "even", "from the right", "bright")
_DARK, _BRIGHT, _SIDE = 50.0, 200.0, 0.35  # grey levels; halves' difference over their mean
_COUNTED_ONLY = ("dark", "bright")  # classes that a set does not need
_MOST_LIGHTS = 40  # with more different names the attribute is not used


def yaw_classes(faces: LabelledFaces, shapes: ShapeModel | None) -> tuple[list[str], str] | None:
    """The class of each face, and its source; None if it cannot be determined.

    Left and right are those of the image: a face turned left faces the left side of the image.
    """
    stated = faces.attribute("yaw")
    if all(isinstance(value, int | float) for value in stated):
        angles = np.array([float(value or 0.0) for value in stated])
        return _classes(angles, _YAW_DEG), "labels"
    regions = faces.scheme.regions
    if (
        shapes is None
        or faces.own_scheme
        or not {"nose", "chin"} <= set(regions)
        or len(regions["chin"]) < 3
    ):
        return None
    jaw, tip = list(regions["chin"]), regions["nose"][_NOSE_TIP]
    across = shapes.points[:, jaw, 0]
    width = np.maximum(np.ptp(across, axis=1), 1e-9)
    middle = (across.max(axis=1) + across.min(axis=1)) / 2
    return _classes((shapes.points[:, tip, 0] - middle) / width, _YAW_PROXY), "points"


def _classes(values: Floats, edges: Sequence[float]) -> list[str]:
    return [YAW_CLASSES[index] for index in np.digitize(values, edges)]


def light_classes(faces: LabelledFaces, windows: Grey | None) -> tuple[list[str], str] | None:
    """The class of each face, and its source; None if it cannot be determined."""
    stated = faces.attribute("illumination")
    if None not in stated and len(set(stated)) <= _MOST_LIGHTS:
        return [str(value) for value in stated], "labels"
    if windows is None:
        return None
    half = windows.shape[2] // 2
    left = windows[:, :, :half].mean(axis=(1, 2), dtype=float)
    right = windows[:, :, half:].mean(axis=(1, 2), dtype=float)
    level = (left + right) / 2
    side = (left - right) / np.maximum(level, 1.0)
    named = np.select(
        [level < _DARK, level > _BRIGHT, side > _SIDE, side < -_SIDE],
        ["dark", "bright", "from the left", "from the right"],
        "even",
    )
    return [str(name) for name in named], "images"


def find_imbalance(
    faces: LabelledFaces, shapes: ShapeModel | None, windows: Grey | None, params: ValidateParams
) -> Outcome:
    """Classes of yaw and of light with too few faces for training or evaluation."""
    by_attribute = {"yaw": yaw_classes(faces, shapes), "light": light_classes(faces, windows)}
    numbers: dict[str, object] = {}
    few: list[str] = []
    for name, classified in by_attribute.items():
        if classified is None:
            continue
        classes, source = classified
        counts = Counter(classes)
        names: tuple[str, ...] = YAW_CLASSES if name == "yaw" else LIGHT_CLASSES
        if name == "light" and source == "labels":
            names = tuple(sorted(counts))
        numbers[name] = {"from": source, "faces": {label: counts[label] for label in names}}
        least = params.min_class_fraction * len(classes)
        few += [
            f"{name}: {counts[label]} {label}"
            for label in names
            if label not in _COUNTED_ONLY and counts[label] < least
        ]
    if not numbers:
        return Outcome({}, skipped="yaw and light are not in labels, points or images")
    limit = f"; at least {params.min_class_fraction:g} of the faces"
    return Outcome({-1: "; ".join(few) + limit} if few else {}, None, None, numbers)
