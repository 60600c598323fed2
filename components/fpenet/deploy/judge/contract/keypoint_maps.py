"""Maps between the numberings of keypoints, by name: ``98->68`` gives the 68 from the 98 of WFLW.

Entries are 0-based. Sources: WFLW (Wu 2018, figure 3) and the 106 points of the JD-landmark
challenge (Liu 2019, figure 2), which LaPa has too: both repeat the 68 of 300-W with points between.
"""

from collections.abc import Sequence

from fpenet.core.errors import InputError
from fpenet.params.contract import ContractParams

_WFLW_EYES = (60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75)  # no middles of the lids
_JD_EYES = (66, 67, 69, 70, 71, 73, 75, 76, 78, 79, 80, 82)
_WFLW_TO_68 = (
    *range(0, 33, 2),  # contour, every second point
    *range(33, 38),  # upper edges of the eyebrows
    *range(42, 47),
    *range(51, 60),  # nose
    *_WFLW_EYES,
    *range(76, 96),  # mouth
)
_JD_TO_68 = (
    *range(0, 33, 2),
    *range(33, 38),
    *range(42, 47),
    *range(51, 55),  # bridge of the nose
    *range(58, 63),  # its lower edge
    *_JD_EYES,
    *range(84, 104),
)


def named_map(source: int, target: int) -> str | None:
    """The name of the map from ``source`` to ``target`` keypoints, if there is one.

    >>> named_map(98, 68), named_map(98, 80), named_map(10, 68)
    ('98->68', '98->68', None)
    """
    name = f"{source}->{target}"
    if name in KEYPOINT_MAPS:
        return name
    return f"{source}->68" if target in (80, 104) and f"{source}->68" in KEYPOINT_MAPS else None


def source_keypoints(
    contract: ContractParams, num_model: int, num_labelled: int
) -> tuple[int | None, ...]:
    """The 0-based keypoint of the model for each keypoint of the labels; None: it has none.

    Args:
        num_model, num_labelled: number of keypoints of the model and of the labels.

    Raises:
        InputError: no such map, or a number is larger than ``num_model`` or ``num_labelled``.
    """
    keypoints = contract.keypoints
    if keypoints is None:
        return tuple(range(num_model))
    sources: Sequence[int | None]
    if isinstance(keypoints, str):
        if keypoints not in KEYPOINT_MAPS:
            raise InputError(
                f"keypoints is {keypoints!r}; the maps with a name are {sorted(KEYPOINT_MAPS)}"
            )
        sources = KEYPOINT_MAPS[keypoints]
    elif isinstance(keypoints, dict):
        beyond = [ours for ours in keypoints if ours > num_labelled]
        if beyond:
            raise InputError(
                f"keypoints maps point {beyond[0]}; the labels have {num_labelled} keypoints"
            )
        sources = [
            keypoints[ours] - 1 if ours in keypoints else None
            for ours in range(1, num_labelled + 1)
        ]
    else:
        sources = [None if theirs is None else theirs - 1 for theirs in keypoints]
    unknown = [theirs for theirs in sources if theirs is not None and theirs >= num_model]
    if unknown:
        raise InputError(
            f"keypoints names point {unknown[0] + 1} of the model, which has {num_model} keypoints"
        )
    if all(theirs is None for theirs in sources):
        raise InputError("keypoints maps no point")
    return tuple(sources)


KEYPOINT_MAPS: dict[str, tuple[int, ...]] = {"98->68": _WFLW_TO_68, "106->68": _JD_TO_68}
"""Name -> the 0-based keypoint of the model for each keypoint of the labels."""
