"""Outputs of models as points, against slow references and hand values."""

import math

import numpy as np
import pytest

from fpenet.deploy.judge.contract.crop_tensor import to_tensor
from fpenet.deploy.judge.contract.decode import decode, heatmap_peaks
from fpenet.deploy.judge.contract.keypoint_maps import KEYPOINT_MAPS
from fpenet.params.contract import ContractInput, ContractOutput


def slow_peak(heat: np.ndarray) -> tuple[float, float]:
    """The refined position (x, y) of the largest value of one map, one step at a time."""
    best = (-math.inf, 0, 0)
    for y in range(heat.shape[0]):
        for x in range(heat.shape[1]):
            if heat[y, x] > best[0]:
                best = (float(heat[y, x]), x, y)
    peak, x, y = best
    refined = []
    for place, line in ((x, heat[y, :]), (y, heat[:, x])):
        if 0 < place < len(line) - 1:
            a, b = float(line[place - 1]), float(line[place + 1])
            # the parabola a, peak, b at -1, 0, 1: peak + (b - a) / 2 t + (a + b - 2 peak) / 2 t^2
            refined.append(place - ((b - a) / 2) / (a + b - 2 * peak))
        else:
            refined.append(float(place))
    return refined[0], refined[1]


def test_heat_maps_agree_with_a_slow_reference_at_the_edge_too() -> None:
    rng = np.random.default_rng(0)
    maps = rng.uniform(-1, 1, (5, 4, 9, 12)).astype(np.float32)
    maps[0, 0, 0, 5] = maps[0, 1, 8, 11] = maps[0, 2, 3, 0] = 2.0  # edge, corner, edge
    expected = [[slow_peak(heat) for heat in face] for face in maps]
    assert heatmap_peaks(maps) == pytest.approx(np.array(expected), abs=1e-6)


def test_a_parabola_is_found_exactly_and_a_map_of_nan_is_nan() -> None:
    y, x = np.mgrid[:16, :16]
    maps = np.stack([-((x - 6.3) ** 2) - (y - 9.75) ** 2, np.full((16, 16), np.nan)])[None]
    peaks = heatmap_peaks(maps)
    assert peaks[0, 0] == pytest.approx([6.3, 9.75])
    assert np.isnan(peaks[0, 1]).all()


@pytest.mark.parametrize(("origin", "expected"), [("centre", [8.0, 12.0]), ("corner", [9.5, 13.5])])
@pytest.mark.parametrize("form", ["heatmaps", "heatmaps_last"])
def test_pixels_of_a_map_are_four_pixels_of_the_crop(
    form: str, origin: str, expected: list[float]
) -> None:
    """Map pixel (2, 3) of 16: its centre is at 4 times that, or at 4 times (2.5, 3.5) less 0.5."""
    maps = np.zeros((1, 1, 16, 16), np.float32)
    maps[0, 0, 3, 2] = 1.0
    if form == "heatmaps_last":
        maps = np.moveaxis(maps, 1, 3)
    output = ContractOutput.model_validate({"form": form, "origin": origin})
    assert decode(maps, output, (64, 64))[0, 0].tolist() == expected


def test_mean_and_scale_are_of_the_channels_in_their_order() -> None:
    crop = np.array([[[[10, 20, 30]]]], np.uint8)  # one pixel: red 10, green 20, blue 30
    tensor = ContractInput.model_validate(
        {
            "size": [8, 8],
            "channels": 3,
            "order": "bgr",
            "layout": "nchw",
            "mean": [1, 2, 3],
            "scale": [1, 0.5, 2],
        }
    )
    assert to_tensor(crop, tensor, np.float32)[0, :, 0, 0].tolist() == [29.0, 9.0, 14.0]
    last = tensor.model_copy(update={"layout": "nhwc"})
    assert to_tensor(crop, last, np.float16).shape == (1, 1, 1, 3)


def test_the_named_maps_meet_at_the_points_that_all_three_numberings_have() -> None:
    """1-based, from the figures of the papers: chin, nose tip, eye corners, mouth corners."""
    landmarks_68 = [9, 31, 37, 40, 43, 46, 49, 55]
    landmarks_98 = [17, 55, 61, 65, 69, 73, 77, 83]
    landmarks_106 = [17, 55, 67, 71, 76, 80, 85, 91]
    for name, theirs in (("98->68", landmarks_98), ("106->68", landmarks_106)):
        assert [KEYPOINT_MAPS[name][k - 1] + 1 for k in landmarks_68] == theirs
        assert len(set(KEYPOINT_MAPS[name])) == 68
