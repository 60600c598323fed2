"""Soft-argmax: heat maps to sub-pixel points (Honari 2018, eq. 3; FACTS 2.3).

Written as Mul + ReduceSum, since SM 75 refuses the FP32 matrix product it could be.
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
        centers = [(torch.arange(n) + 0.5) * stride - 0.5 for n in (height, width)]
        rows, columns = torch.meshgrid(*centers, indexing="ij")
        self.register_buffer("columns", columns.reshape(-1), persistent=False)
        self.register_buffer("rows", rows.reshape(-1), persistent=False)

    def forward(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """(N, K, H, W) to points (N, K, 2) in crop pixels and the largest probability (N, K)."""
        probability = (self.beta * heatmaps.flatten(2)).float().softmax(dim=2)  # (N, K, H * W)
        x = (probability * self.columns).sum(dim=2)
        y = (probability * self.rows).sum(dim=2)
        return torch.stack((x, y), dim=2), probability.amax(dim=2)
