"""Quantisation-aware training for INT8, with the FP32 net itself as the teacher.

Input: a deployed net, the ranges of its convolutions' inputs, training faces. Does: rounds these
inputs and the weights in the forward pass like the Q/DQ graph, with a straight-through gradient
(Jacob 2018). The loss is the distance to the FP32 net's output for the same image, so that no
labels are needed. Output: the changed weights; the convolution of the heat maps is not trained.
"""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, kl_div, smooth_l1_loss
from torch.nn.utils import parametrize

from fpenet.core.progress import report
from fpenet.data.crops.store import CROP_PX, CropStore, Rows
from fpenet.model.nets.recombinator import NetOutput, Recombinator, build_net

_LEVELS = 127
_BATCH = 32
_CELLS_WEIGHT = 1.0  # of the heat maps' divergence; the points' distance in pixels has weight 1
_CONFIDENCE_WEIGHT = 0.1


class _RoundedWeight(nn.Module):
    """A weight rounded to 127 levels, with one step size per output channel along ``axis``."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, weight: Tensor) -> Tensor:
        reduced = [index for index in range(weight.ndim) if index != self.axis]
        steps = weight.detach().abs().amax(dim=reduced).clamp(min=1e-12) / _LEVELS
        zeros = torch.zeros_like(steps, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(
            weight, steps, zeros, self.axis, -_LEVELS, _LEVELS
        )


def quantised(net: Recombinator, ranges: Mapping[str, float]) -> Recombinator:
    """A copy of the net that rounds weights and inputs like INT8.

    Args:
        ranges: path of a convolution -> amax of its input; other convolutions stay in FP32.
    """
    net = copy.deepcopy(net)
    for path, amax in ranges.items():
        layer = net.get_submodule(path)
        axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        parametrize.register_parametrization(layer, "weight", _RoundedWeight(axis))
        step = amax / _LEVELS

        def rounded(_: nn.Module, inputs: tuple[Tensor], step: float = step) -> tuple[Tensor]:
            levels = torch.fake_quantize_per_tensor_affine(inputs[0], step, 0, -_LEVELS, _LEVELS)
            return (levels,)

        layer.register_forward_pre_hook(rounded)
    return net


def net_with(
    name: str, num_keypoints: int, values: Mapping[str, NDArray[np.float32]]
) -> Recombinator:
    """The deployed net ``name`` with the weights ``values``; additional entries are ignored."""
    net = build_net(name, num_keypoints)
    net.load_state_dict({key: torch.from_numpy(values[key].copy()) for key in net.state_dict()})
    return net.eval()


def train_quantised(
    net: Recombinator,
    ranges: Mapping[str, float],
    store: CropStore,
    rows: Rows,
    epochs: int,
    learning_rate: float,
    seed: int,
) -> dict[str, NDArray[np.float32]]:
    """Name -> trained weight after ``epochs`` passes over the faces ``rows``, with random shifts.

    Args:
        net: with batch norm folded; the teacher, not changed.
        learning_rate: of the first step; cosine decay to 0.
    """
    net.eval().requires_grad_(False)
    student = quantised(net, ranges).requires_grad_(True)
    student.heatmaps.requires_grad_(False)
    trained = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, learning_rate, weight_decay=0.0)
    steps = epochs * -(-len(rows) // _BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        order = rng.permutation(rows)
        for start in range(0, len(order), _BATCH):
            images = _moved(store, np.sort(order[start : start + _BATCH]), rng)
            with torch.no_grad():
                target = net.outputs(images)
            loss = _distance(student.outputs(images), target)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
        report(epoch + 1, epochs, "epochs")
    for path in ranges:
        parametrize.remove_parametrizations(
            student.get_submodule(path), "weight", leave_parametrized=False
        )
    return {
        name: value.detach().numpy().copy()
        for name, value in student.state_dict().items()
        if not name.startswith("heatmaps.")
    }


def _moved(store: CropStore, rows: Rows, rng: np.random.Generator) -> Tensor:
    """(N, 1, 80, 80) crops at random positions of the margin crops."""
    margin = store.crops.shape[1] - CROP_PX
    corners = rng.integers(0, margin + 1, (len(rows), 2))
    crops = [
        store.crops[row, y : y + CROP_PX, x : x + CROP_PX]
        for row, (y, x) in zip(rows, corners, strict=True)
    ]
    return torch.from_numpy(np.stack(crops)[:, None]).float()


def _distance(student: NetOutput, teacher: NetOutput) -> Tensor:
    """Loss: distance of points in pixels, divergence of the marginals, and confidence."""
    loss = smooth_l1_loss(student.points, teacher.points, beta=0.1)
    shares = student.marginals.clamp(min=1e-9).log()
    loss = loss + _CELLS_WEIGHT * kl_div(shares, teacher.marginals, reduction="none").sum(2).mean()
    if student.logits is None or teacher.logits is None:
        return loss
    probability = teacher.logits.sigmoid()
    confidence = binary_cross_entropy_with_logits(student.logits, probability)
    return loss + _CONFIDENCE_WEIGHT * confidence
