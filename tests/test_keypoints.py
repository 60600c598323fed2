"""What each keypoint is: the model card's regions, mirror partners that mirror."""

import numpy as np
import pytest

from fpenet.keypoints import SCHEMES, scheme_for

# FPENet model card, 1-based: first and last keypoint.
CARD = {
    "chin": (1, 17),
    "eyebrows": (18, 27),
    "nose": (28, 36),
    "eyes": (37, 48),
    "mouth": (49, 68),
    "pupils": (69, 76),
    "ears": (77, 80),
    "eye_contours": (81, 104),
}
OF_FPENET = [count for count, scheme in SCHEMES.items() if scheme.of_fpenet]


def test_the_schemes_of_the_card_are_68_80_and_104_points() -> None:
    assert OF_FPENET == [68, 80, 104]


@pytest.mark.parametrize("count", OF_FPENET)
def test_regions_are_the_cards(count: int) -> None:
    scheme = scheme_for(count)
    wanted = {name: (first, last) for name, (first, last) in CARD.items() if last <= count}
    assert set(scheme.regions) == {"all", "head_pose", *wanted}
    for name, (first, last) in wanted.items():
        assert scheme.regions[name] == tuple(range(first - 1, last)), name
    assert scheme.regions["all"] == tuple(range(count))


@pytest.mark.parametrize("count", [*SCHEMES, 1, 10, 98])
def test_loss_groups_hold_every_keypoint_once(count: int) -> None:
    groups = scheme_for(count).loss_groups
    assert sorted(k for group in groups.values() for k in group) == list(range(count))


@pytest.mark.parametrize("count", SCHEMES)
def test_a_double_flip_is_none_and_a_partner_is_of_the_same_region(count: int) -> None:
    scheme = scheme_for(count)
    if scheme.flip_map is None:
        pytest.skip("left and right are not known")
    partner = np.array(scheme.flip_map)
    np.testing.assert_array_equal(partner[partner], np.arange(count))
    for name, keypoints in scheme.regions.items():
        assert {scheme.flip_map[k] for k in keypoints} == set(keypoints), name


def test_midline_points_are_their_own_partners() -> None:
    flip = scheme_for(68).flip_map
    assert flip is not None
    midline = [k for k in range(68) if flip[k] == k]  # chin tip, nose bridge and tip, lips
    assert midline == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


@pytest.mark.parametrize("count", OF_FPENET)
def test_eye_corners_are_the_outer_ones_and_mirror_each_other(count: int) -> None:
    scheme = scheme_for(count)
    assert scheme.eye_corners == (36, 45)
    assert scheme.flip_map is not None
    assert scheme.flip_map[36] == 45


def test_any_other_number_has_one_region_and_no_flip_map() -> None:
    scheme = scheme_for(10)
    assert dict(scheme.regions) == {"all": tuple(range(10))}
    assert (scheme.flip_map, scheme.eye_corners) == (None, None)


def test_no_keypoint_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.keypoints is 0; it must be at least 1"):
        scheme_for(0)
