"""Training a finished net to bear INT8: quantisation-aware, taught by the net itself in FP32.

Input: a net that ships, the ranges of what its convolutions read, training faces. Does: rounds
those inputs and the weights in the forward pass as the Q/DQ rendering does, and lets gradients
through (straight-through estimator, Jacob 2018); the loss is the distance to what the FP32 net says
of the same picture, so no label is needed. Output: the changed weights; the heat maps' stay.
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
_CELLS_WEIGHT = 1.0  # of the heat maps' divergence, beside 1 for a pixel of distance
_CONFIDENCE_WEIGHT = 0.1


class _RoundedWeight(nn.Module):
    """A weight on its 127 levels, one step an output channel along ``axis``."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, weight: Tensor) -> Tensor:
        others = [index for index in range(weight.ndim) if index != self.axis]
        steps = weight.detach().abs().amax(dim=others).clamp(min=1e-12) / _LEVELS
        zeros = torch.zeros_like(steps, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(
            weight, steps, zeros, self.axis, -_LEVELS, _LEVELS
        )


def quantised(net: Recombinator, ranges: Mapping[str, float]) -> Recombinator:
    """A copy of the net that rounds as INT8 does.

    Args:
        ranges: path of a convolution -> amax of what it reads; others stay in FP32.
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
    """The net that ships with the weights ``values``, which may hold more than its own."""
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
    """Weight -> values after ``epochs`` passes over the faces ``rows``, each moved a little.

    Args:
        net: with batch norm folded; it is its own teacher and is not changed.
        learning_rate: of the first step; it falls to 0 by a cosine.
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
                taught = net.answer(images)
            loss = _distance(student.answer(images), taught)
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
    """(N, 1, 80, 80) crops, each cut somewhere else out of its margin crop."""
    margin = store.crops.shape[1] - CROP_PX
    corners = rng.integers(0, margin + 1, (len(rows), 2))
    crops = [
        store.crops[row, y : y + CROP_PX, x : x + CROP_PX]
        for row, (y, x) in zip(rows, corners, strict=True)
    ]
    return torch.from_numpy(np.stack(crops)[:, None]).float()


def _distance(student: NetOutput, teacher: NetOutput) -> Tensor:
    """Points in pixels, the divergence of the heat maps' marginals, and the confidence."""
    loss = smooth_l1_loss(student.points, teacher.points, beta=0.1)
    shares = student.marginals.clamp(min=1e-9).log()
    loss = loss + _CELLS_WEIGHT * kl_div(shares, teacher.marginals, reduction="none").sum(2).mean()
    if student.logits is None or teacher.logits is None:
        return loss
    probability = teacher.logits.sigmoid()
    confidence = binary_cross_entropy_with_logits(student.logits, probability)
    return loss + _CONFIDENCE_WEIGHT * confidence
