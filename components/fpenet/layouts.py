"""Layouts of public data sets: regions and mirror partners of 98, 106, 29 and 5 keypoints.

Indices are 0-based; "first" is the eye on the left of the image. Sources: 98: Wu et al., Look at
Boundary (WFLW, 2018); 106: Liu et al., Grand Challenge of 106-Point Facial Landmark Localization
(JD, 2019), also LaPa (2020); 29: Burgos-Artizzu et al., Robust Face Landmark Estimation under
Occlusion (COFW, 2013); 5: eye centres, nose tip and mouth corners, as in CelebA and MTCNN.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """What the keypoints of one data set are.

    Attributes:
        name: the data set.
        regions: KPI region -> keypoints.
        mirror: pairs that a horizontal flip exchanges; the others are on the midline.
        eye_corners: the outer eye corners, first eye first; None if they are no keypoints.
        pupils: two groups of keypoints whose means are the centres of the eyes.
        chin: the tip of the chin; None if it is no keypoint.
    """

    name: str
    regions: Mapping[str, tuple[int, ...]]
    mirror: tuple[tuple[int, int], ...]
    eye_corners: tuple[int, int] | None
    pupils: tuple[tuple[int, ...], tuple[int, ...]]
    chin: int | None

    @property
    def num_keypoints(self) -> int:
        """K."""
        return 1 + max(index for region in self.regions.values() for index in region)

    @property
    def flip_map(self) -> tuple[int, ...]:
        """Index of each keypoint's mirror partner."""
        partner = list(range(self.num_keypoints))
        for one, two in self.mirror:
            partner[one], partner[two] = two, one
        return tuple(partner)


def _span(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


def _mirrored(first: int, last: int) -> tuple[tuple[int, int], ...]:
    """The pairs of a row of points from one side of the face to the other."""
    return tuple((k, first + last - k) for k in _span(first, (first + last - 1) // 2))


_BROW_PAIRS = (*((33 + k, 46 - k) for k in range(5)), *((38 + k, 50 - k) for k in range(4)))
_MOUTH_ROWS_98 = ((76, 82), (83, 87), (88, 92), (93, 95))

WFLW_98 = Layout(
    "WFLW",
    {
        "chin": _span(0, 32),
        "eyebrows": _span(33, 50),
        "nose": _span(51, 59),
        "eyes": _span(60, 75),
        "mouth": _span(76, 95),
        "pupils": (96, 97),
    },
    (
        *_mirrored(0, 32),
        *_BROW_PAIRS,
        *_mirrored(55, 59),
        *((60 + k, 72 - k) for k in range(5)),
        *((65 + k, 75 - k) for k in range(3)),
        *(pair for first, last in _MOUTH_ROWS_98 for pair in _mirrored(first, last)),
        (96, 97),
    ),
    eye_corners=(60, 72),
    pupils=((96,), (97,)),
    chin=16,
)
_MOUTH_ROWS_106 = ((84, 90), (91, 95), (96, 100), (101, 103))
JD_106 = Layout(
    "JD and LaPa",
    {
        "chin": _span(0, 32),
        "eyebrows": _span(33, 50),
        "nose": _span(51, 65),
        "eyes": (*_span(66, 73), *_span(75, 82)),
        "mouth": _span(84, 103),
        "pupils": (74, 83, 104, 105),
    },
    (
        *_mirrored(0, 32),
        *_BROW_PAIRS,
        *_mirrored(55, 65),
        *((66 + k, 79 - k) for k in range(5)),
        *((71 + k, 82 - k) for k in range(3)),
        (74, 83),
        *(pair for first, last in _MOUTH_ROWS_106 for pair in _mirrored(first, last)),
        (104, 105),
    ),
    eye_corners=(66, 79),
    pupils=((104,), (105,)),
    chin=16,
)
COFW_29 = Layout(
    "COFW",
    {
        "eyebrows": _span(0, 7),
        "eyes": _span(8, 15),
        "pupils": (16, 17),
        "nose": _span(18, 21),
        "mouth": _span(22, 27),
        "chin": (28,),
    },
    (
        (0, 1),
        (2, 3),
        (4, 6),
        (5, 7),
        (8, 9),
        (10, 11),
        (12, 14),
        (13, 15),
        (16, 17),
        (18, 19),
        (22, 23),
    ),
    eye_corners=(8, 9),
    pupils=((16,), (17,)),
    chin=28,
)
FIVE = Layout(
    "eye centres, nose tip and mouth corners",
    {"eyes": (0, 1), "nose": (2,), "mouth": (3, 4)},
    ((0, 1), (3, 4)),
    eye_corners=None,
    pupils=((0,), (1,)),
    chin=None,
)
