"""Soft-argmax: heat maps to sub-pixel points (Honari 2018, eq. 3; FACTS 2.3).

All that is asked of a heat map are means of a few fixed functions of x and of y. There are two ways
to them: over the marginals, one Mul and one ReduceSum for both axes, as SM 75 refuses a matrix
product in FP32; and as one matrix product, which a CPU does soonest. Few operators either way: on a
CPU each costs microseconds, whatever it does.

The mean of a Gaussian that the frame cuts off lies too far inside. ``unbiased`` puts that right by
Stein's identity: of a Gaussian with variance s on [a, b] with density A at a and B at b, the mean
is m = mu - s (B - A) and the variance v = s (1 + a A - b B + m (B - A)), which gives mu. Sums over
cells stand for its integrals: of the pull, 0.4 px are left at most on cells of 2 px, 1.3 px on 4.
"""

import torch
from torch import Tensor, nn

# A heat map that is no Gaussian (flat, or with two peaks) must not throw its point far away.
_LEAST_SHARE = 0.25  # of the variance that is seen
_LARGEST_VARIANCE = 36.0  # px^2


class SoftArgmax(nn.Module):
    """Expected position under the softmax of each square heat map.

    Args:
        num_keypoints: K, how many heat maps.
        size: side of a heat map.
        stride: crop pixels a heat-map cell; cell j lies at (j + 0.5) * stride - 0.5.
        beta: inverse temperature.
        unbiased: without the pull of the frame on points near it.

    Attributes:
        products: by matrix products.
    """

    functions: Tensor
    plane: Tensor

    def __init__(
        self, num_keypoints: int, size: int, stride: int, beta: float, unbiased: bool = False
    ) -> None:
        super().__init__()
        self.num_keypoints = num_keypoints
        self.size = size
        self.beta = beta
        self.unbiased = unbiased
        self.products = False
        places = (torch.arange(size) + 0.5) * stride - 0.5
        self.limits = float(places[0]) - stride, float(places[-1]) + stride
        functions = places[None]
        if unbiased:
            # Between the centres of the first and the last cell, by the trapezoid rule.
            within = torch.ones(size)
            within[0] = within[-1] = 0.5
            first, last = torch.zeros(2, size)
            first[0] = last[-1] = 1 / stride  # density there
            share = within + places[0] * first - places[-1] * last
            slope = last - first
            functions = torch.stack((within, within * places, within * places**2, slope, share))
        self.register_buffer("functions", functions, persistent=False)
        columns = functions[:, None, :].expand(-1, size, size)
        plane = torch.cat((columns, columns.mT)).flatten(1).T  # (H * W, 2 * functions)
        self.register_buffer("plane", plane.contiguous(), persistent=False)

    def forward(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """(N, K, H, W) to points (N, K, 2) in crop pixels and probabilities (N, K, H * W)."""
        cells = self.flat(heatmaps, self.num_keypoints)
        if self.beta != 1.0:
            cells = self.beta * cells
        cells = cells.float().softmax(dim=2)
        if self.products:
            means = (cells @ self.plane).reshape(-1, self.num_keypoints, 2, len(self.functions))
        else:
            means = self._means(self.marginals(cells))
        return self._points(means), cells

    def marginals(self, cells: Tensor) -> Tensor:
        """(N, K, H * W) probabilities to (N, K, 2 * S): their sums over y, then those over x."""
        grid = cells.reshape(-1, self.num_keypoints, self.size, self.size)
        return torch.cat((grid.sum(dim=2), grid.sum(dim=3)), dim=2)

    def from_marginals(self, marginals: Tensor) -> Tensor:
        """(N, K, 2 * S) to points (N, K, 2) in crop pixels."""
        return self._points(self._means(marginals))

    def flat(self, maps: Tensor, channels: int) -> Tensor:
        """(N, C, H, W) to (N, C, H * W); said so that an exported network need not ask for C."""
        return maps.reshape(-1, channels, self.size * self.size)

    def _means(self, marginals: Tensor) -> Tensor:
        marginals = marginals.reshape(-1, self.num_keypoints, 2, 1, self.size)
        return (marginals * self.functions).sum(dim=4)

    def _points(self, means: Tensor) -> Tensor:
        if self.unbiased:
            means = self._without_pull(means)
        return means.reshape(-1, self.num_keypoints, 2)

    def _without_pull(self, means: Tensor) -> Tensor:
        """(N, K, 2, 1) positions from the means (N, K, 2, 5) of the functions."""
        within = means[..., :1]
        _, mean, square, slope, share = torch.split(means / within, 1, dim=3)
        share = (share + mean * slope).clamp(min=_LEAST_SHARE)
        variance = ((square - mean * mean) / share).clamp(max=_LARGEST_VARIANCE)
        return (mean + variance * slope).clamp(*self.limits)
