"""Data-parallel training in several processes of ``torchrun``; without them, nothing is exchanged.

Each process takes its share of every batch. Sums over the batch, also those of batch norm, are
summed over all processes, so that the result equals a training in one process. Only process 0
writes files.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn

from fpenet.core.errors import InputError
from fpenet.params import TrainParams


def rank() -> int:
    """The number of this process; 0 in a training of one process."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def size() -> int:
    """The number of processes of the training."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def device_of(train: TrainParams) -> torch.device:
    """The device of this process; each process of ``torchrun`` has its own GPU.

    Raises:
        InputError: ``train.device`` is cuda, and there is no GPU.
    """
    if train.device == "cuda" and not torch.cuda.is_available():
        raise InputError("train.device is cuda, but torch sees no GPU; set it to cpu or auto")
    if train.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", distributed.get_node_local_rank(0))
    torch.cuda.set_device(device)
    return device


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the process group of ``torchrun``: NCCL on GPUs, gloo on CPUs."""
    if not distributed.is_torchelastic_launched() or distributed.is_initialized():
        yield
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def summed(value: Tensor) -> Tensor:
    """The sum of ``value`` over all processes; without gradient."""
    if not distributed.is_initialized():
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Sum the gradients over all processes, in place."""
    if size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, part in zip(gradients, torch.split(flat, sizes), strict=True):
        gradient.copy_(part.view_as(gradient))


def from_first(value: Any) -> Any:
    """The ``value`` of process 0, in every process; any type that can be pickled."""
    if size() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values)
    return values[0]


class _SumBothWays(torch.autograd.Function):
    """Sum over all processes: of values in the forward pass, of gradients in the backward pass."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        return summed(value)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return summed(gradients[0].contiguous())


class WholeBatchNorm(nn.BatchNorm2d):
    """Batch norm with the statistics of the whole batch over all processes; also on CPUs."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) normalised."""
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        values = input.float()
        count = values.numel() // values.shape[1] * size()
        sums = torch.stack((values.sum((0, 2, 3)), (values**2).sum((0, 2, 3))))
        mean, square = (_SumBothWays.apply(sums) / count).unbind()  # type: ignore[no-untyped-call]
        variance = (square - mean**2).clamp(min=0)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        normal: Tensor = values * scale[:, None, None] + shift[:, None, None]
        return normal.to(input.dtype)


def see_whole_batch(net: nn.Module) -> None:
    """Replace the batch norm of ``net`` by ``WholeBatchNorm`` if there are several processes."""
    if size() > 1:
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.__class__ = WholeBatchNorm


class BatchRng:
    """Random numbers for the faces of a batch.

    Each process samples them for the whole batch and keeps those of its own faces: two processes
    with 16 faces each get the same numbers as one process with 32.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def uniform(self, count: int, *shape: int) -> Tensor:
        """(count, *shape) between 0 and 1."""
        values = torch.rand(count * size(), *shape, generator=self.generator, device=self.device)
        return values[rank() * count : (rank() + 1) * count]

    def between(self, limit: float, count: int, *shape: int) -> Tensor:
        """(count, *shape) between -limit and limit."""
        return (self.uniform(count, *shape) * 2 - 1) * limit

    def normal(self, count: int, *shape: int) -> Tensor:
        """(count, *shape) of the standard normal distribution."""
        values = torch.randn(count * size(), *shape, generator=self.generator, device=self.device)
        return values[rank() * count : (rank() + 1) * count]
