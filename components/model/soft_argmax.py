"""Soft-argmax: heat maps to sub-pixel points (Honari 2018, eq. 3; FACTS 2.3).

Written as ReduceSum + Mul, since SM 75 refuses the FP32 matrix product it could be: first the
marginals over columns and rows, so that only two vectors of each heat map meet the coordinates.
"""

import torch
from torch import Tensor, nn


class SoftArgmax(nn.Module):
    """Expected position under the softmax of each heat map.

    Args:
        height, width: of the heat map.
        stride: crop pixels a heat-map cell; cell j lies at (j + 0.5) * stride - 0.5.
        beta: inverse temperature.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, height: int, width: int, stride: int, beta: float) -> None:
        super().__init__()
        self.beta = beta
        rows, columns = ((torch.arange(n) + 0.5) * stride - 0.5 for n in (height, width))
        self.register_buffer("columns", columns, persistent=False)
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """(N, K, H, W) to points (N, K, 2) in crop pixels and the largest probability (N, K)."""
        cells = heatmaps.flatten(2)
        if self.beta != 1.0:
            cells = self.beta * cells
        cells = cells.float().softmax(dim=2)  # (N, K, H * W)
        grid = cells.unflatten(2, (len(self.rows), len(self.columns)))  # type: ignore[no-untyped-call]
        x = (grid.sum(dim=2) * self.columns).sum(dim=2)
        y = (grid.sum(dim=3) * self.rows).sum(dim=2)
        return torch.stack((x, y), dim=2), cells.amax(dim=2)
