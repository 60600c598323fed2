"""What two processes of ``torchrun`` see of each other: ``two_ranks.py FOLDER``, a file each."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, distributed, nn

from fpenet.model.distributed import (
    BatchRng,
    from_first,
    joined,
    rank,
    see_whole_batch,
    size,
    sum_gradients,
    summed,
)

IMAGES = torch.randn(8, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 3 + 1
"""A batch; each process has its half of it."""


def normalise(norm: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Output, gradients and statistics of a batch norm in training, of a loss on its cubes."""
    given = images.clone().requires_grad_()
    output = norm.train()(given)
    (output**3).sum().backward()
    sum_gradients(norm.parameters())
    assert given.grad is not None
    tensors = {"output": output.detach(), "gradient": given.grad}
    tensors |= {name: p.grad for name, p in norm.named_parameters() if p.grad is not None}
    return tensors | {f"{name}_of": value.clone() for name, value in norm.named_buffers()}


def a_norm() -> nn.BatchNorm2d:
    """With a scale and an offset that are not 1 and 0."""
    norm = nn.BatchNorm2d(3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 2.0, -1.0]))
        norm.bias.copy_(torch.tensor([0.1, 0.0, -0.3]))
    return norm


def main(folder: Path) -> None:
    """Write what this process got."""
    with joined(torch.device("cpu")):
        number = rank()
        mine = torch.tensor([rank() + 1.0, 10.0 * rank()])
        total = summed(mine)
        one, two, none = (nn.Parameter(torch.zeros(n)) for n in (2, 3, 4))
        one.grad = torch.full((2,), 1.0 + rank())
        two.grad = torch.tensor([0.0, 10.0, 20.0]) * (1 + rank())
        sum_gradients([one, none, two])
        assert none.grad is None
        chance = BatchRng(3)
        module = nn.Sequential(a_norm())
        see_whole_batch(module)
        half = len(IMAGES) // size()
        tensors = normalise(module[0], IMAGES[rank() * half : (rank() + 1) * half]) | {
            "size": torch.tensor([size()]),
            "mine": mine,
            "total": total,
            "one": one.grad,
            "two": two.grad,
            "first": torch.tensor(from_first([5 + rank(), 7])),
            "uniform": chance.uniform(2, 3),
            "normal": chance.normal(2),
            "between": chance.between(4.0, 2, 2),
        }
    assert not distributed.is_initialized()
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / f"{number}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
