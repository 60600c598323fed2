"""Marginals and confidence logits of a net's maps as one fused operation.

It takes less than half the time of separate operations. Input: (N, 2 K, S, S), K heat maps and then
K maps of the confidence. Output: the inputs of the soft-argmax and of the losses, with a gradient.
"""

from typing import Any

import torch
from torch import Tensor


class ReadMaps(torch.autograd.Function):
    """Marginals (N, K, 2 * S) of each heat map's softmax, and logits (N, K): the mean of each
    confidence map under this softmax.

    The maps keep the memory format (channels last) and precision of the convolution's output. The
    gradient of softmax, sums and means is computed in one step in single precision:
    p (g_across + g_down + g_logit m - their mean under p) for heat maps, p g_logit for confidence
    maps. On a CPU the faces are processed one by one, so that a face's maps stay in the cache.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> tuple[Tensor, Tensor]:
        laid = maps.permute(0, 2, 3, 1)
        count, side, _, channels = laid.shape
        keypoints = channels // 2
        cells = laid.new_empty(count, side, side, keypoints, dtype=torch.float32)
        marginals = cells.new_empty(count, 2, side, keypoints)
        logits = cells.new_empty(count, keypoints)
        for faces in _parts(maps):
            heatmaps, marks = laid[faces].float().tensor_split(2, dim=3)
            flat = _softmax(heatmaps.flatten(1, 2))
            cells[faces] = flat.view(-1, side, side, keypoints)
            torch.sum(cells[faces], 1, out=marginals[faces, 0])
            torch.sum(cells[faces], 2, out=marginals[faces, 1])
            torch.sum(flat * marks.flatten(1, 2), 1, out=logits[faces])
        ctx.save_for_backward(maps, cells, marginals, logits)
        return marginals.flatten(1, 2).mT, logits

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        maps, cells, marginals, logits = ctx.saved_tensors
        by_marginal = gradients[0].mT.reshape(marginals.shape)
        by_logit = gradients[1]
        mean = (by_marginal * marginals).sum((1, 2)) + by_logit * logits
        by_across, by_down = by_marginal[:, 0], by_marginal[:, 1] - mean[:, None]
        laid = maps.permute(0, 2, 3, 1)
        keypoints = cells.shape[3]
        gradient = torch.empty_like(laid, memory_format=torch.contiguous_format)
        for faces in _parts(maps):
            slope = by_across[faces, None] + by_down[faces, :, None]
            mark_slope = by_logit[faces, None, None]
            slope.addcmul_(laid[faces, ..., keypoints:].float(), mark_slope).mul_(cells[faces])
            gradient[faces, ..., :keypoints] = slope
            gradient[faces, ..., keypoints:] = torch.mul(cells[faces], mark_slope, out=slope)
        return gradient.permute(0, 3, 1, 2)


def _softmax(flat: Tensor) -> Tensor:
    """Softmax over axis 1 of (N, cells, K). PyTorch's is slow on GPUs for any but the last axis."""
    if not flat.is_cuda:
        return flat.softmax(dim=1)
    share = (flat - flat.amax(dim=1, keepdim=True)).exp_()
    return share.div_(share.sum(dim=1, keepdim=True))


def _parts(maps: Tensor) -> list[slice]:
    if maps.is_cuda:
        return [slice(None)]
    return [slice(face, face + 1) for face in range(len(maps))]
