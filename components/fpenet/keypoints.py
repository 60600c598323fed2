"""Keypoint schemes: regions, mirror partners and eye corners of the K that are known.

Indices are 0-based everywhere except in label files, which are 1-based.
Source: FPENet model card (68/80/104 layouts); docs/fpenet.md (flip map, KPI regions); ``layouts``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fpenet.core.errors import InputError
from fpenet.layouts import COFW_29, FIVE, JD_106, WFLW_98, Layout
from fpenet.params.scheme import SchemeParams


@dataclass(frozen=True, slots=True)
class KeypointScheme:
    """The meaning of K keypoints.

    Attributes:
        regions: KPI region name -> keypoint indices; always has ``all``.
        loss_groups: a partition of the K indices, group name (eyes, mouth, pupil, face) -> indices.
        flip_map: index of each keypoint's mirror partner; None if left and right are not known.
        eye_corners: the outer eye corners, whose distance is the inter-ocular normaliser, or None.
        pupils: two groups of keypoints, left and right in the image; the mean of each is a pupil
            centre. None if the scheme has neither pupils nor eyes. 68 points have no pupil
            keypoints; the eye contours are used, as in 300-W.
        of_fpenet: whether the keypoints are the first of the 104 of FPENet's model card.
        layout: whose order of keypoints it is; empty if that is not known.
        chin_tip: the tip of the chin, or None.
    """

    num_keypoints: int
    regions: Mapping[str, tuple[int, ...]]
    loss_groups: Mapping[str, tuple[int, ...]]
    flip_map: tuple[int, ...] | None
    eye_corners: tuple[int, int] | None
    pupils: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    of_fpenet: bool = False
    layout: str = ""
    chin_tip: int | None = None


def _span(start: int, stop: int) -> tuple[int, ...]:
    return tuple(range(start, stop))


_REGIONS_68 = {
    "eyes": _span(36, 48),
    "mouth": _span(48, 68),
    "nose": _span(27, 36),
    "eyebrows": _span(17, 27),
    "chin": _span(0, 17),
    "head_pose": (8, 17, 21, 22, 26, 31, 35, 36, 39, 42, 45, 48, 54, 57),
}
_REGIONS_80 = _REGIONS_68 | {"pupils": _span(68, 76), "ears": _span(76, 80)}
_REGIONS_104 = _REGIONS_80 | {"eye_contours": _span(80, 104)}

_NOSE_FLIPPED = (27, 28, 29, 30, 35, 34, 33, 32, 31)
_EYES_FLIPPED = (45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40)
_FIRST_CONTOUR_FLIPPED = (91, 92, 93, 100, 99, 98, 97, 96, 95, 94, 101)
_SECOND_CONTOUR_FLIPPED = (80, 81, 82, 89, 88, 87, 86, 85, 84, 83, 90)
_FLIP_68 = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *_NOSE_FLIPPED,
    *_EYES_FLIPPED,
    *range(54, 47, -1),
    *range(59, 54, -1),
    *range(64, 59, -1),
    *range(67, 64, -1),
)
_FLIP_80 = (*_FLIP_68, 74, 73, 72, 75, 70, 69, 68, 71, 78, 79, 76, 77)
_FLIP_104 = (*_FLIP_80, *_FIRST_CONTOUR_FLIPPED, *_SECOND_CONTOUR_FLIPPED, 103, 102)


def _scheme(regions: Mapping[str, tuple[int, ...]], flip_map: tuple[int, ...]) -> KeypointScheme:
    count = len(flip_map)
    groups = _loss_groups(count, regions)
    pupils = (_span(68, 72), _span(72, 76)) if count > 68 else (_span(36, 42), _span(42, 48))
    regions = {"all": _span(0, count), **regions}
    layout = "300-W" if count == 68 else "FPENet"
    return KeypointScheme(count, regions, groups, flip_map, (36, 45), pupils, True, layout, 8)


def _scheme_of(layout: Layout) -> KeypointScheme:
    count = layout.num_keypoints
    return KeypointScheme(
        count,
        {"all": _span(0, count), **layout.regions},
        _loss_groups(count, layout.regions),
        layout.flip_map,
        layout.eye_corners,
        layout.pupils,
        layout=layout.name,
        chin_tip=layout.chin,
    )


def _loss_groups(count: int, regions: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Eyes with their contours, mouth, pupil, and the rest as face; the groups do not overlap."""
    eyes = (*regions.get("eyes", ()), *regions.get("eye_contours", ()))
    candidates = {"eyes": eyes, "mouth": regions.get("mouth"), "pupil": regions.get("pupils")}
    taken: set[int] = set()
    groups: dict[str, tuple[int, ...]] = {}
    for name, keypoints in candidates.items():
        if group := tuple(sorted(set(keypoints or ()) - taken)):
            groups[name] = group
            taken.update(group)
    if rest := tuple(k for k in range(count) if k not in taken):
        groups["face"] = rest
    return groups


def custom_scheme(scheme: SchemeParams) -> KeypointScheme:
    """The keypoint scheme that a scheme file defines (numbers from 1 become indices from 0)."""
    count = len(scheme.keypoints)
    flip_map: list[int] | None = None
    if scheme.mirror is not None:
        flip_map = [*range(count)]
        for left, right in scheme.mirror:
            flip_map[left - 1], flip_map[right - 1] = right - 1, left - 1
    regions = {name: tuple(k - 1 for k in numbers) for name, numbers in scheme.regions.items()}
    corners = scheme.eye_corners and (scheme.eye_corners[0] - 1, scheme.eye_corners[1] - 1)
    return KeypointScheme(
        count,
        {"all": _span(0, count), **regions},
        _loss_groups(count, regions),
        None if flip_map is None else tuple(flip_map),
        corners,
    )


def scheme_for(num_keypoints: int) -> KeypointScheme:
    """The scheme of ``num_keypoints`` points; an unknown layout has only the region ``all``.

    Raises:
        InputError: ``num_keypoints`` is not positive.
    """
    if num_keypoints < 1:
        raise InputError(f"data.keypoints is {num_keypoints}; it must be at least 1")
    if num_keypoints in SCHEMES:
        return SCHEMES[num_keypoints]
    everything = _span(0, num_keypoints)
    return KeypointScheme(num_keypoints, {"all": everything}, {"face": everything}, None, None)


SCHEMES: dict[int, KeypointScheme] = {
    68: _scheme(_REGIONS_68, _FLIP_68),
    80: _scheme(_REGIONS_80, _FLIP_80),
    104: _scheme(_REGIONS_104, _FLIP_104),
    98: _scheme_of(WFLW_98),
    106: _scheme_of(JD_106),
    29: _scheme_of(COFW_29),
    5: _scheme_of(FIVE),
}
