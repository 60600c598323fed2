"""Soft-argmax: heat maps to sub-pixel points (Honari 2018, eq. 3; FACTS 2.3).

Written as ReduceSum + Mul, since SM 75 refuses the FP32 matrix product it could be: first the
marginals over columns and rows, so that only two vectors of each heat map meet the coordinates.

The mean of a Gaussian that the frame cuts off lies too far inside. ``unbiased`` puts that right by
Stein's identity: of a Gaussian with variance s on [a, b] with density A at a and B at b, the mean
is m = mu - s (B - A) and the variance v = s (1 - (b - m) B - (m - a) A), which gives mu.
"""

import torch
from torch import Tensor, nn

# A heat map that is no Gaussian (flat, or with two peaks) must not throw its point far away.
_LEAST_SHARE = 0.25  # of the variance that is seen
_LARGEST_VARIANCE = 36.0  # px^2


class SoftArgmax(nn.Module):
    """Expected position under the softmax of each heat map.

    Args:
        height, width: of the heat map.
        stride: crop pixels a heat-map cell; cell j lies at (j + 0.5) * stride - 0.5.
        beta: inverse temperature.
        unbiased: without the pull of the frame on points near it.
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self, height: int, width: int, stride: int, beta: float, unbiased: bool = False
    ) -> None:
        super().__init__()
        self.beta = beta
        self.stride = stride
        self.unbiased = unbiased
        rows, columns = ((torch.arange(n) + 0.5) * stride - 0.5 for n in (height, width))
        self.register_buffer("columns", columns, persistent=False)
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """(N, K, H, W) to points (N, K, 2) in crop pixels and probabilities (N, K, H * W)."""
        cells = heatmaps.flatten(2)
        if self.beta != 1.0:
            cells = self.beta * cells
        cells = cells.float().softmax(dim=2)
        grid = cells.unflatten(2, (len(self.rows), len(self.columns)))  # type: ignore[no-untyped-call]
        x = self._position(grid.sum(dim=2), self.columns)
        y = self._position(grid.sum(dim=3), self.rows)
        return torch.stack((x, y), dim=2), cells

    def _position(self, marginal: Tensor, places: Tensor) -> Tensor:
        """(N, K) position of the marginal (N, K, L), whose cells lie at ``places`` (L,)."""
        if not self.unbiased:
            return (marginal * places).sum(dim=2)
        # Between the centres of the first and the last cell, by the trapezoid rule.
        first, last = marginal[..., :1], marginal[..., -1:]
        total = 1.0 - (first + last) / 2
        ends = (first * places[:1] + last * places[-1:]) / 2
        mean = ((marginal * places).sum(dim=2, keepdim=True) - ends) / total
        off = (places - mean) ** 2
        ends = (first * off[..., :1] + last * off[..., -1:]) / 2
        seen = ((marginal * off).sum(dim=2, keepdim=True) - ends) / total
        first, last = first / (total * self.stride), last / (total * self.stride)
        share = 1.0 - (places[-1:] - mean) * last - (mean - places[:1]) * first
        variance = (seen / share.clamp(min=_LEAST_SHARE)).clamp(max=_LARGEST_VARIANCE)
        position = (mean + variance * (last - first)).squeeze(2)
        edge = (self.stride - 1) / 2  # the first cell's centre
        return position.clamp(edge - self.stride, edge + self.stride * len(places))
