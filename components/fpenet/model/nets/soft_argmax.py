"""Soft-argmax: heat maps to sub-pixel points (Honari 2018, eq. 3; docs/fpenet.md).

The points are computed from means of a few fixed functions of x and of y. There are two
implementations: over the marginals, with one Mul and one ReduceSum for both axes, because TensorRT
on SM 75 does not accept a matrix product in FP32; and one matrix product, which is fastest on a
CPU. Both use few operators, because each costs microseconds on a CPU.

The mean of a Gaussian that the border cuts off is biased toward the centre. ``unbiased`` corrects
this by Stein's identity: for a Gaussian with variance s on [a, b] with density A at a and B at b,
the mean is m = mu - s (B - A) and the variance v = s (1 + a A - b B + m (B - A)), which gives mu.
Sums over cells approximate the integrals: the remaining bias is at most 0.4 px with cells of 2 px,
and 1.3 px with cells of 4 px.
"""

import torch
from torch import Tensor, nn

# Bounds of the correction, for heat maps that are not Gaussian (flat, or with two peaks).
_LEAST_SHARE = 0.25  # of the observed variance
_LARGEST_VARIANCE = 36.0  # px^2


class SoftArgmax(nn.Module):
    """Expected position under the softmax of each square heat map.

    Args:
        num_keypoints: K, the number of heat maps.
        size: side of a heat map in cells.
        stride: crop pixels per heat-map cell; the centre of cell j is (j + 0.5) * stride - 0.5.
        beta: inverse temperature.
        unbiased: correct the bias of points near the border.

    Attributes:
        products: compute the means by matrix products.
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
        centres = (torch.arange(size) + 0.5) * stride - 0.5
        self.limits = float(centres[0]) - stride, float(centres[-1]) + stride
        functions = centres[None]
        if unbiased:
            # Trapezoid rule between the centres of the first and the last cell.
            within = torch.ones(size)
            within[0] = within[-1] = 0.5
            first, last = torch.zeros(2, size)
            first[0] = last[-1] = 1 / stride  # density there
            share = within + centres[0] * first - centres[-1] * last
            slope = last - first
            functions = torch.stack((within, within * centres, within * centres**2, slope, share))
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
        """(N, K, H * W) probabilities to (N, K, 2 * S): sums over y, then sums over x."""
        grid = cells.reshape(-1, self.num_keypoints, self.size, self.size)
        return torch.cat((grid.sum(dim=2), grid.sum(dim=3)), dim=2)

    def from_marginals(self, marginals: Tensor) -> Tensor:
        """(N, K, 2 * S) to points (N, K, 2) in crop pixels."""
        return self._points(self._means(marginals))

    def flat(self, maps: Tensor, channels: int) -> Tensor:
        """(N, C, H, W) to (N, C, H * W); ``channels`` keeps the shape static in exported graphs."""
        return maps.reshape(-1, channels, self.size * self.size)

    def _means(self, marginals: Tensor) -> Tensor:
        marginals = marginals.reshape(-1, self.num_keypoints, 2, 1, self.size)
        return (marginals * self.functions).sum(dim=4)

    def _points(self, means: Tensor) -> Tensor:
        if self.unbiased:
            means = self._unbiased(means)
        return means.reshape(-1, self.num_keypoints, 2)

    def _unbiased(self, means: Tensor) -> Tensor:
        """(N, K, 2, 1) positions from the means (N, K, 2, 5) of the functions."""
        within = means[..., :1]
        _, mean, square, slope, share = torch.split(means / within, 1, dim=3)
        share = (share + mean * slope).clamp(min=_LEAST_SHARE)
        variance = ((square - mean * mean) / share).clamp(max=_LARGEST_VARIANCE)
        return (mean + variance * slope).clamp(*self.limits)
