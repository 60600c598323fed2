"""The Recombinator network (Honari 2016) in FPENet's variants (FACTS 2.1, 2.2) and ours.

Input (N, 1, 80, 80), grey levels 0..255. Encoder blocks keep their output for the decoder block of
the same resolution, which sees [upsampled, kept]. Output: points (N, K, 2) in crop pixels and
confidence (N, K): of our nets the probability that the keypoint is visible and rightly placed, of
the original's the largest probability of a heat-map cell (FACTS 2.3).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpenet.core.errors import InputError
from fpenet.data.crops.store import CROP_PX
from fpenet.model.nets.read_maps import ReadMaps
from fpenet.model.nets.soft_argmax import SoftArgmax

GREY_LEVELS = 255.0
"""While training, images are divided by this; the weights that ship take 0..255."""


@dataclass(frozen=True, slots=True)
class NetSpec:
    """What distinguishes one variant.

    Attributes:
        encoder: channels of the encoder blocks, fine to coarse.
        trunk: channels at the coarsest grid.
        decoder: channels of the decoder blocks, coarse to fine; the heat maps have the grid of the
            last one, so one fewer than the encoder's makes them half as large.
        stem: stride of the first convolution.
        decoder_kernel: side of the decoder's first convolution.
        deconvolution: upsample by a learned 2x2 transposed convolution, else by nearest neighbour.
        head: a 1x1 convolution before the heat maps.
        batch_norm: while training; it is folded into the convolutions that ship.
        beta: inverse temperature of the soft-argmax.
        ours: points without the frame's pull, a temperature that is learned (folded into the heat
            maps that ship), and a second map a keypoint, whose mean under the heat map is the logit
            of the confidence.
    """

    encoder: tuple[int, ...]
    trunk: int
    decoder: tuple[int, ...]
    stem: int = 1
    decoder_kernel: int = 3
    deconvolution: bool = False
    head: bool = True
    batch_norm: bool = False
    beta: float = 0.1
    ours: bool = False


@dataclass(frozen=True, slots=True)
class NetOutput:
    """What the net says of N faces, as losses need it.

    Attributes:
        points: (N, K, 2) crop pixels.
        logits: (N, K) of the confidence; None where it is not learned.
        marginals: (N, K, 2 * S) of the heat maps' probabilities: their sums over y, then over x.
    """

    points: Tensor
    logits: Tensor | None
    marginals: Tensor


def _conv(inputs: int, outputs: int, kernel: int, norm: bool, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm while training, ReLU."""
    block: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)]
    nn.init.kaiming_normal_(block[0].weight, nonlinearity="relu")  # type: ignore[arg-type]
    nn.init.zeros_(block[0].bias)  # type: ignore[arg-type]
    if norm:
        block.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*block, nn.ReLU(inplace=True))


class Recombinator(nn.Module):
    """The network of a ``NetSpec`` for ``num_keypoints`` points.

    Args:
        batch_norm: with the batch norm and the temperature of the spec (training), or with both
            folded (shipping).
    """

    def __init__(self, spec: NetSpec, num_keypoints: int, batch_norm: bool) -> None:
        super().__init__()
        norm = batch_norm and spec.batch_norm
        self.ours = spec.ours
        self.num_keypoints = num_keypoints
        self.log_temperature = nn.Parameter(torch.zeros(1)) if batch_norm and spec.ours else None
        size, channels = CROP_PX, 1
        self.stem: nn.Module = nn.Identity()
        if spec.stem > 1:
            self.stem = _conv(1, spec.encoder[0], 3, norm, spec.stem)
            size, channels = size // spec.stem, spec.encoder[0]
        heatmap_size = size // 2 ** (len(spec.encoder) - len(spec.decoder))
        self.encoder = nn.ModuleList()
        for width in spec.encoder:
            self.encoder.append(_conv(channels, width, 3, norm))
            channels = width
        self.pool = nn.MaxPool2d(2)
        self.trunk = nn.Sequential(
            _conv(channels, spec.trunk, 3, norm),
            _conv(spec.trunk, spec.trunk, 3, norm),
            _conv(spec.trunk, spec.trunk, 1, norm),
        )
        channels = spec.trunk
        self.upsample = nn.ModuleList()
        self.decoder = nn.ModuleList()
        joined = reversed(spec.encoder[-len(spec.decoder) :])
        for width, kept in zip(spec.decoder, joined, strict=True):
            self.upsample.append(
                nn.ConvTranspose2d(channels, channels, 2, 2, bias=False)
                if spec.deconvolution
                else nn.Upsample(scale_factor=2, mode="nearest")
            )
            self.decoder.append(
                nn.Sequential(
                    _conv(channels + kept, width, spec.decoder_kernel, norm),
                    _conv(width, width, 1, norm),
                )
            )
            channels = width
        self.head = _conv(channels, channels, 1, norm) if spec.head else nn.Identity()
        # Of ours: K heat maps, then K maps of the confidence.
        self.heatmaps = nn.Conv2d(channels, num_keypoints * (2 if spec.ours else 1), 1)
        self.soft_argmax = SoftArgmax(
            num_keypoints, heatmap_size, CROP_PX // heatmap_size, spec.beta, unbiased=spec.ours
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, 80, 80) grey levels 0..255 to points (N, K, 2) and confidence (N, K)."""
        features = self.features(images)
        if not self.ours:
            points, cells = self.soft_argmax(self.maps(features))
            return points, cells.amax(dim=2)
        if self.soft_argmax.products:
            return self._by_products(features)
        maps = self.maps(features)
        points, cells = self.soft_argmax(maps[:, : self.num_keypoints])
        marks = self.soft_argmax.flat(maps[:, self.num_keypoints :], self.num_keypoints)
        return points, (cells * marks).sum(dim=2).sigmoid()

    def answer(self, images: Tensor) -> NetOutput:
        """The same, with what losses are made of."""
        maps = self.maps(self.features(images))
        if self.ours:
            marginals, logits = ReadMaps.apply(maps)  # type: ignore[no-untyped-call]
            points = self.soft_argmax.from_marginals(marginals)
            return NetOutput(points, logits, marginals)
        points, cells = self.soft_argmax(maps)
        return NetOutput(points, None, self.soft_argmax.marginals(cells))

    def features(self, images: Tensor) -> Tensor:
        """(N, 1, 80, 80) grey levels 0..255 to what the maps are made of, (N, C, S, S)."""
        features = self.stem(images)
        kept = []
        for block in self.encoder:
            features = block(features)
            kept.append(features)
            features = self.pool(features)
        features = self.trunk(features)
        for upsample, block in zip(self.upsample, self.decoder, strict=True):
            features = block(torch.cat((upsample(features), kept.pop()), dim=1))
        return self.head(features)  # type: ignore[no-any-return]

    def maps(self, features: Tensor) -> Tensor:
        """(N, C, S, S) features to heat maps (N, K, S, S); ours have K maps of confidence more."""
        if self.log_temperature is None:
            maps: Tensor = self.heatmaps(features)
            return maps
        return functional.conv2d(features, *self.heatmap_weights())

    def heatmap_weights(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the layer of the maps, with the temperature of the heat maps in it."""
        weight, bias = self.heatmaps.weight, self.heatmaps.bias
        assert bias is not None
        if self.log_temperature is None:
            return weight, bias
        plain = torch.ones(self.num_keypoints, device=bias.device)  # of the maps of the confidence
        factor = torch.cat((self.log_temperature.exp().expand(self.num_keypoints), plain))
        return weight * factor[:, None, None, None], bias * factor

    def _by_products(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The answer of a net that ships: the mean of a linear map is the map of the means."""
        assert self.heatmaps.bias is not None
        maps, marks = torch.split(self.heatmaps.weight, self.num_keypoints)
        maps_bias, marks_bias = torch.split(self.heatmaps.bias, self.num_keypoints)
        points, cells = self.soft_argmax(functional.conv2d(features, maps, maps_bias))
        channels = self.soft_argmax.flat(features, self.heatmaps.in_channels)
        means = cells @ channels.transpose(1, 2)  # (N, K, C)
        logits = (means * marks.flatten(1)).sum(dim=2) + marks_bias
        return points, logits.sigmoid()


def first_convolution(net: Recombinator) -> nn.Conv2d:
    """The convolution that sees the image."""
    return next(module for module in net.modules() if isinstance(module, nn.Conv2d))


def build_net(name: str, num_keypoints: int, batch_norm: bool = False) -> Recombinator:
    """The variant ``name`` of NETS with fresh weights."""
    if name not in NETS:
        raise InputError(f"unknown net {name!r}; choose one of {sorted(NETS)}")
    return Recombinator(NETS[name], num_keypoints, batch_norm)


_WIDE = (64, 64, 64, 64)

NETS: dict[str, NetSpec] = {
    "base": NetSpec(_WIDE, 64, _WIDE, deconvolution=True),
    "base_5x5": NetSpec(_WIDE, 64, _WIDE, decoder_kernel=5, deconvolution=True, head=False),
    "release": NetSpec(_WIDE, 64, _WIDE),
    "public": NetSpec(_WIDE, 64, _WIDE, deconvolution=True, head=False),
    "nano": NetSpec((32, 64, 128), 128, (128, 64), stem=2, batch_norm=True, beta=1.0, ours=True),
    "small": NetSpec((24, 48, 80), 80, (64, 40, 32), stem=2, batch_norm=True, beta=1.0, ours=True),
    "large": NetSpec(
        (48, 96, 160), 192, (128, 96, 64), stem=2, batch_norm=True, beta=1.0, ours=True
    ),
}
