"""Soft-argmax of a few cells by hand, by each of its ways, and of maps that are no Gaussian."""

import math

import pytest
import torch
from torch import Tensor

from fpenet.model.nets.soft_argmax import SoftArgmax


def maps_of(weights: dict[tuple[int, int], float], size: int) -> Tensor:
    """(1, 1, size, size) logits of a map with these probabilities at (row, column)."""
    cells = torch.full((1, 1, size, size), -1e4)
    for (row, column), weight in weights.items():
        cells[0, 0, row, column] = math.log(weight)
    return cells


def by_each_way(decode: SoftArgmax, maps: Tensor) -> list[list[float]]:
    """The point by sums, by a matrix product, and from the marginals."""
    points, cells = decode(maps)
    decode.products = True
    product, again = decode(maps)
    decode.products = False
    assert torch.equal(cells, again)
    return [
        points[0, 0].tolist(),
        product[0, 0].tolist(),
        decode.from_marginals(decode.marginals(cells))[0, 0].tolist(),
    ]


def test_a_point_is_the_mean_of_the_cells_places() -> None:
    # Cells of 4 px lie at 1.5, 5.5, 9.5, ...: a quarter at column 1 and row 2, the rest at 3 and 0.
    maps = maps_of({(2, 1): 0.25, (0, 3): 0.75}, 20)
    for point in by_each_way(SoftArgmax(1, 20, 4, beta=1.0), maps):
        assert point == pytest.approx([0.25 * 5.5 + 0.75 * 13.5, 0.25 * 9.5 + 0.75 * 1.5], abs=1e-4)


def test_beta_is_an_inverse_temperature() -> None:
    maps = maps_of({(5, 2): 0.8, (5, 7): 0.2}, 10)
    points, cells = SoftArgmax(1, 10, 8, beta=0.5)(maps)
    share = math.sqrt(0.8) / (math.sqrt(0.8) + math.sqrt(0.2))  # 2 / 3
    assert cells.amax().item() == pytest.approx(share)
    assert points[0, 0].tolist() == pytest.approx([share * 19.5 + (1 - share) * 59.5, 43.5])


def test_marginals_are_the_sums_over_y_and_then_those_over_x() -> None:
    decode = SoftArgmax(1, 3, 2, beta=1.0)
    cells = torch.tensor([[[0.1, 0.2, 0.0, 0.0, 0.3, 0.0, 0.4, 0.0, 0.0]]])
    known = torch.tensor([[[0.5, 0.5, 0.0, 0.3, 0.3, 0.4]]])  # columns, then rows
    torch.testing.assert_close(decode.marginals(cells), known)


def test_each_keypoint_has_its_heat_map() -> None:
    maps = torch.cat([maps_of({(row, 3): 1.0}, 10) for row in (1, 8)], dim=1)
    points, _ = SoftArgmax(2, 10, 8, beta=1.0)(maps.expand(3, -1, -1, -1))
    assert points.shape == (3, 2, 2)
    torch.testing.assert_close(points[2], torch.tensor([[27.5, 11.5], [27.5, 67.5]]))


def gaussian(x: float, sigma: float) -> Tensor:
    """(1, 1, 40, 40) logits about (x, 39.5), both of this standard deviation, cells of 2 px."""
    places = (torch.arange(40) + 0.5) * 2 - 0.5
    across, down = (-((places - at) ** 2) / (2 * sigma**2) for at in (x, 39.5))
    return (down[:, None] + across)[None, None]


@pytest.mark.parametrize("x", [39.5, 2.0, 77.0])
def test_a_gaussian_s_centre_is_seen_by_each_way_without_the_frame_s_pull(x: float) -> None:
    for point in by_each_way(SoftArgmax(1, 40, 2, beta=1.0, unbiased=True), gaussian(x, 3.0)):
        assert point == pytest.approx([x, 39.5], abs=0.4)
    pulled = by_each_way(SoftArgmax(1, 40, 2, beta=1.0), gaussian(x, 3.0))[0][0]
    assert (abs(pulled - x) > 0.5) is (x != 39.5)


def test_two_peaks_at_the_frame_throw_their_point_no_further_than_a_cell_outside() -> None:
    decode = SoftArgmax(1, 40, 2, beta=1.0, unbiased=True)
    # Half of the map in the first cell, half far inside: no Gaussian has this shape.
    for columns, side in (((0, 25), 1), ((39, 14), -1)):
        maps = maps_of({(20, columns[0]): 0.5, (20, columns[1]): 0.5}, 40)
        mean = (columns[0] * 2 + 0.5 + columns[1] * 2 + 0.5) / 2
        for x, _ in by_each_way(decode, maps):
            assert -1.5 <= x <= 80.5
            # It moves towards the frame by 36 px^2 times the density there at most.
            assert 0 < side * (mean - x) <= 36 * 1.0 + 1e-3


def test_a_point_leaves_the_outer_cells_centres_by_a_cell_at_most() -> None:
    decode = SoftArgmax(1, 40, 2, beta=1.0, unbiased=True)
    for x, limit in ((-20.0, 0.5 - 2.0), (100.0, 78.5 + 2.0)):
        for point in by_each_way(decode, gaussian(x, 6.0)):
            assert point[0] == pytest.approx(limit, abs=1e-3)
