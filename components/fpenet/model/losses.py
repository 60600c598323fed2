"""Training losses: landmark losses as weighted means over coordinates, heat-map and confidence
loss.

``weight`` (N, K) contains the region weights and is 0 for points that do not count, such as hidden
ones. The original's losses (docs/fpenet.md, Losses) are sums, equal to these means times a factor:
the batch size for L1 and square Euclidean, 2 K and the coefficient for Wing. The losses on the
shape of the heat maps and on the confidence have separate weights in ``train``.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fpenet.core.errors import InputError
from fpenet.data.crops.store import CROP_PX
from fpenet.keypoints import KeypointScheme
from fpenet.model.distributed import summed
from fpenet.model.nets.recombinator import NetOutput
from fpenet.params import TrainParams

Loss = Callable[[Tensor, TrainParams], Tensor]
"""Maps absolute errors in crop pixels to losses of the same shape."""
_LEAST = 1e-12  # lower bound of a probability before its logarithm


def point_weights(
    scheme: KeypointScheme, counts: Tensor, region_weights: Mapping[Any, float] | None
) -> Tensor:
    """The weight (N, K) of every point; the weights sum to 1 over the batch of all processes.

    Args:
        counts: (N, K) bool, the points that count.
        region_weights: loss group -> weight; the weight of a group without a counting point is
            distributed over the other groups. None: all counting points have the same weight.

    Raises:
        InputError: a weight for a group that the scheme does not have.
    """
    weight = counts.float()
    if region_weights is not None:
        absent = {name for name, w in region_weights.items() if w} - set(scheme.loss_groups)
        if absent:
            raise InputError(
                f"train.region_weights has {sorted(absent)}; {scheme.num_keypoints} keypoints have"
                f" the groups {sorted(scheme.loss_groups)}"
            )
        weight = torch.zeros_like(weight)
        for name, keypoints in scheme.loss_groups.items():
            group = counts[:, list(keypoints)].float()
            share = region_weights.get(name, 0.0) / summed(group.sum()).clamp(min=1)
            weight[:, list(keypoints)] = group * share
    return weight / summed(weight.sum()).clamp(min=torch.finfo(weight.dtype).tiny)


def l1(error: Tensor, train: TrainParams) -> Tensor:
    """|e|."""
    return error


def square_euclidean(error: Tensor, train: TrainParams) -> Tensor:
    """e^2."""
    return error**2


def wing(error: Tensor, train: TrainParams) -> Tensor:
    """Wing (Feng 2018, eq. 5): w ln(1 + |e|/epsilon) below w, |e| - C above."""
    w, epsilon = train.wing_w, train.wing_epsilon
    offset = w - w * math.log(1 + w / epsilon)
    return torch.where(error < w, w * torch.log1p(error / epsilon), error - offset)


def soft_wing(error: Tensor, train: TrainParams) -> Tensor:
    """Soft Wing (Lin 2021, eq. 4): |e| below wing_inner, w ln(1 + |e|/epsilon) + B above.

    Small errors (label noise) and large errors (often wrong labels) have smaller gradients than in
    Wing.
    """
    w, epsilon, inner = train.wing_w, train.wing_epsilon, train.wing_inner
    offset = inner - w * math.log(1 + inner / epsilon)
    return torch.where(error < inner, error, w * torch.log1p(error / epsilon) + offset)


def coordinate_loss(pred: Tensor, target: Tensor, weight: Tensor, train: TrainParams) -> Tensor:
    """``train.loss`` of ``pred`` (N, K, 2), a mean over x and y weighted by ``weight``.

    A target with weight 0 may be NaN; it has no gradient.
    """
    error = (pred - torch.where(weight[..., None] > 0, target, pred.detach())).abs()
    return (LOSSES[train.loss](error, train) * weight[..., None]).sum() / 2


def js_divergence(pred: Tensor, target: Tensor) -> Tensor:
    """Jensen-Shannon divergence over the last axis (Nibali 2018, eq. 12), nats."""
    middle = ((pred + target) / 2).clamp(min=_LEAST).log()
    parts = [(p * (p.clamp(min=_LEAST).log() - middle)).sum(-1) for p in (pred, target)]
    return (parts[0] + parts[1]) / 2


def cross_entropy(pred: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of ``pred`` under ``target`` over the last axis, nats."""
    return -(target * pred.clamp(min=_LEAST).log()).sum(-1)


def heatmap_loss(output: NetOutput, target: Tensor, weight: Tensor, train: TrainParams) -> Tensor:
    """Divergence of the heat maps' marginals from a Gaussian centred at ``target`` (N, K, 2)."""
    inside = ((target > -0.5) & (target < CROP_PX - 0.5)).all(-1)  # others are outside the maps
    weight = torch.where(inside, weight, 0.0)
    target = torch.where(weight[..., None] > 0, target, 0.0)
    cells = output.marginals.shape[2] // 2
    centres = (torch.arange(cells, device=weight.device) + 0.5) * (CROP_PX / cells) - 0.5
    offsets = (centres - target[..., None]) / train.heatmap_sigma_px  # (N, K, 2, S)
    expected = (-0.5 * offsets**2).softmax(-1)
    predicted = output.marginals.unflatten(2, (2, cells))  # type: ignore[no-untyped-call]
    values = HEATMAP_LOSSES[train.heatmap_loss](predicted, expected)
    return (values.sum(-1) * weight).sum() / 2


def confidence_loss(
    output: NetOutput, target: Tensor, weight: Tensor, visible: Tensor, train: TrainParams
) -> Tensor:
    """Binary cross entropy of the confidence; positive: the keypoint is visible and correct.

    Correct means within ``train.confidence_px`` of its label. The points get no gradient from this
    loss.
    """
    assert output.logits is not None
    target = torch.where(weight[..., None] > 0, target, 0.0)
    distance = (output.points.detach() - target).norm(dim=-1)
    correct = (visible & (distance <= train.confidence_px)).float()
    values = functional.binary_cross_entropy_with_logits(output.logits, correct, reduction="none")
    return (values * weight).sum()


LOSSES: dict[str, Loss] = {
    "l1": l1,
    "square_euclidean": square_euclidean,
    "wing": wing,
    "soft_wing": soft_wing,
}
HEATMAP_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "js": js_divergence,
    "cross_entropy": cross_entropy,
}
