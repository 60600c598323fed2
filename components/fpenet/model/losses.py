"""What training makes small: landmark losses as means over the coordinates that count (FACTS 3).

``weight`` (N, K) says what counts: hidden points have weight 0, and region weights are in it. The
original's sums are these means times a factor: L1 and square Euclidean times the batch size, Wing
times 2 K and its coefficient. To them come, each by its own weight, a loss on the shape of the heat
maps and that of the confidence.
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
"""Absolute errors in crop pixels to losses of the same shape."""
_LEAST = 1e-12  # probability whose logarithm is taken


def point_weights(
    scheme: KeypointScheme, counts: Tensor, region_weights: Mapping[Any, float] | None
) -> Tensor:
    """The weight (N, K) of every point, summing to 1 over the whole batch.

    Args:
        counts: (N, K) bool, the points that count.
        region_weights: loss group -> weight; a group without a point that counts leaves its share
            to the others. None weighs every point that counts alike.

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

    Small errors, which are the labels' own noise, and large ones, which are often the labels'
    mistakes, both pull less than in Wing.
    """
    w, epsilon, inner = train.wing_w, train.wing_epsilon, train.wing_inner
    offset = inner - w * math.log(1 + inner / epsilon)
    return torch.where(error < inner, error, w * torch.log1p(error / epsilon) + offset)


def coordinate_loss(pred: Tensor, target: Tensor, weight: Tensor, train: TrainParams) -> Tensor:
    """``train.loss`` of ``pred`` (N, K, 2), a mean over x and y weighted by ``weight``.

    A target that does not count may be NaN: it has no gradient.
    """
    error = (pred - torch.where(weight[..., None] > 0, target, pred.detach())).abs()
    return (LOSSES[train.loss](error, train) * weight[..., None]).sum() / 2


def js_divergence(pred: Tensor, target: Tensor) -> Tensor:
    """Jensen-Shannon divergence over the last axis (Nibali 2018, eq. 12), nats."""
    middle = ((pred + target) / 2).clamp(min=_LEAST).log()
    parts = [(one * (one.clamp(min=_LEAST).log() - middle)).sum(-1) for one in (pred, target)]
    return (parts[0] + parts[1]) / 2


def cross_entropy(pred: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of ``pred`` under ``target`` over the last axis, nats."""
    return -(target * pred.clamp(min=_LEAST).log()).sum(-1)


def heatmap_loss(answer: NetOutput, target: Tensor, weight: Tensor, train: TrainParams) -> Tensor:
    """How far the marginals of the heat maps are from a Gaussian about ``target`` (N, K, 2)."""
    inside = ((target > -0.5) & (target < CROP_PX - 0.5)).all(-1)  # of no other is there a map
    weight = torch.where(inside, weight, 0.0)
    center = torch.where(weight[..., None] > 0, target, 0.0)
    cells = answer.marginals.shape[2] // 2
    places = (torch.arange(cells, device=weight.device) + 0.5) * (CROP_PX / cells) - 0.5
    off = (places - center[..., None]) / train.heatmap_sigma_px  # (N, K, 2, S)
    wanted = (-0.5 * off**2).softmax(-1)
    seen = answer.marginals.unflatten(2, (2, cells))  # type: ignore[no-untyped-call]
    values = HEATMAP_LOSSES[train.heatmap_loss](seen, wanted)
    return (values.sum(-1) * weight).sum() / 2


def confidence_loss(
    answer: NetOutput, target: Tensor, weight: Tensor, visible: Tensor, train: TrainParams
) -> Tensor:
    """Cross entropy of the confidence: whether a keypoint is visible and rightly placed.

    Rightly placed is within ``train.confidence_px`` of its label. The point itself is not moved by
    this loss.
    """
    assert answer.logits is not None
    known = torch.where(weight[..., None] > 0, target, 0.0)
    away = (answer.points.detach() - known).norm(dim=-1)
    right = (visible & (away <= train.confidence_px)).float()
    values = functional.binary_cross_entropy_with_logits(answer.logits, right, reduction="none")
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
