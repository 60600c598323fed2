"""Soft-argmax: heat maps to sub-pixel points (Honari 2018, eq. 3; FACTS 2.3).

First the marginals over columns and rows; then all that is asked of them are means of a few fixed
functions of the place, one Mul and one ReduceSum for both axes. No matrix product: SM 75 refuses
that in FP32. Few operators: on a CPU each costs microseconds, whatever it does.

The mean of a Gaussian that the frame cuts off lies too far inside. ``unbiased`` puts that right by
Stein's identity: of a Gaussian with variance s on [-a, a] with density A and B at the two ends, the
mean is m = mu - s (B - A) and the variance v = s (1 - a (A + B) + m (B - A)), which gives mu.
"""

import torch
from torch import Tensor, nn

# A heat map that is no Gaussian (flat, or with two peaks) must not throw its point far away.
_LEAST_SHARE = 0.25  # of the variance that is seen
_LARGEST_VARIANCE = 36.0  # px^2


class SoftArgmax(nn.Module):
    """Expected position under the softmax of each square heat map.

    Args:
        size: side of the heat map.
        stride: crop pixels a heat-map cell; cell j lies at (j + 0.5) * stride - 0.5.
        beta: inverse temperature.
        unbiased: without the pull of the frame on points near it.
    """

    functions: Tensor

    def __init__(self, size: int, stride: int, beta: float, unbiased: bool = False) -> None:
        super().__init__()
        self.size = size
        self.stride = stride
        self.beta = beta
        self.unbiased = unbiased
        self.center = (size * stride - 1) / 2
        self.reach = (size - 1) / 2 * stride  # from the centre to that of the last cell
        places = (torch.arange(size) + 0.5) * stride - 0.5 - self.center
        functions = places[None]
        if unbiased:
            # Between the centres of the first and the last cell, by the trapezoid rule.
            within = torch.ones(size)
            within[0] = within[-1] = 0.5
            ends = torch.zeros(2, size)
            ends[0, 0] = ends[1, -1] = 1 / stride
            functions = torch.stack(
                (
                    within,
                    within * places,
                    within * places**2,
                    ends[1] - ends[0],
                    self.reach * (ends[0] + ends[1]),
                )
            )
        self.register_buffer("functions", functions, persistent=False)

    def forward(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """(N, K, H, W) to points (N, K, 2) in crop pixels and probabilities (N, K, H * W)."""
        cells = heatmaps.flatten(2)
        if self.beta != 1.0:
            cells = self.beta * cells
        cells = cells.float().softmax(dim=2)
        grid = cells.unflatten(2, (self.size, self.size))  # type: ignore[no-untyped-call]
        marginals = torch.cat((grid.sum(dim=2), grid.sum(dim=3)), dim=2)
        marginals = marginals.unflatten(2, (2, 1, self.size))  # type: ignore[no-untyped-call]
        means = (marginals * self.functions).sum(dim=4)  # (N, K, 2, functions)
        if self.unbiased:
            means = self._without_pull(means)
        return means.squeeze(3) + self.center, cells

    def _without_pull(self, means: Tensor) -> Tensor:
        """(N, K, 2, 1) positions from the means (N, K, 2, 5) of the functions."""
        means = means / means[..., :1]
        _, mean, square, slope, height = means.split(1, dim=3)  # slope: B - A; height: a (A + B)
        share = (1.0 - height + mean * slope).clamp(min=_LEAST_SHARE)
        variance = ((square - mean * mean) / share).clamp(max=_LARGEST_VARIANCE)
        limit = self.reach + self.stride
        return (mean + variance * slope).clamp(-limit, limit)
