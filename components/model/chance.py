"""The chance of a training: random numbers for a batch, the same for one process and for many."""

import torch
from torch import Tensor

from components.model.ranks import rank, size


class Chance:
    """Random numbers for the faces of a batch.

    They are drawn for the whole batch, and each process keeps those of its own faces: two
    processes of 16 faces see what one of 32 sees.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def uniform(self, count: int, *shape: int) -> Tensor:
        """(count, *shape) between 0 and 1."""
        drawn = torch.rand(count * size(), *shape, generator=self.generator, device=self.device)
        return drawn[rank() * count : (rank() + 1) * count]

    def between(self, limit: float, count: int, *shape: int) -> Tensor:
        """(count, *shape) between -limit and limit."""
        return (self.uniform(count, *shape) * 2 - 1) * limit

    def normal(self, count: int, *shape: int) -> Tensor:
        """(count, *shape) of the standard normal distribution."""
        drawn = torch.randn(count * size(), *shape, generator=self.generator, device=self.device)
        return drawn[rank() * count : (rank() + 1) * count]
