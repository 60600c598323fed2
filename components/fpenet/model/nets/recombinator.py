"""The Recombinator network (Honari 2016): FPENet's variants and those of this project.

Input (N, 1, 80, 80), grey levels 0..255. The output of an encoder block is concatenated to the
input of the decoder block of the same resolution: [upsampled, skip]. Output: points (N, K, 2) in
crop pixels and confidence (N, K). A learned confidence is the probability that the keypoint is
visible and correct; else the confidence is the largest probability of a heat-map cell. FPENet's
variants: docs/fpenet.md, Network.
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
"""In training, images are divided by this; the deployed weights take 0..255."""


@dataclass(frozen=True, slots=True)
class NetSpec:
    """Architecture of one variant.

    Attributes:
        encoder: channels of the encoder blocks, fine to coarse.
        trunk: channels at the coarsest grid.
        decoder: channels of the decoder blocks, coarse to fine. The heat maps have the resolution
            of the last one: one block fewer than in the encoder halves it.
        stem: stride of the first convolution.
        decoder_kernel: kernel size of the decoder's first convolution.
        deconvolution: upsample by a learned 2x2 transposed convolution, else by nearest neighbour.
        head: a 1x1 convolution before the heat maps.
        batch_norm: batch norm in training; folded into the deployed convolutions.
        beta: inverse temperature of the soft-argmax.
        learned_confidence: soft-argmax without border bias, a learned temperature (folded into the
            deployed convolution of the maps), and a second map per keypoint, whose mean under the
            heat map is the logit of the confidence.
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
    learned_confidence: bool = False


@dataclass(frozen=True, slots=True)
class NetOutput:
    """Outputs of the net for N faces that the losses use.

    Attributes:
        points: (N, K, 2) crop pixels.
        logits: (N, K) of the confidence; None if it is not learned.
        marginals: (N, K, 2 * S) of the heat maps' probabilities: sums over y, then sums over x.
    """

    points: Tensor
    logits: Tensor | None
    marginals: Tensor


def _conv(inputs: int, outputs: int, kernel: int, norm: bool, stride: int = 1) -> nn.Sequential:
    """Convolution, optional batch norm, ReLU."""
    block: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)]
    nn.init.kaiming_normal_(block[0].weight, nonlinearity="relu")  # type: ignore[arg-type]
    nn.init.zeros_(block[0].bias)  # type: ignore[arg-type]
    if norm:
        block.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*block, nn.ReLU(inplace=True))


class Recombinator(nn.Module):
    """The network of a ``NetSpec`` for ``num_keypoints`` points.

    Args:
        batch_norm: True: with batch norm and temperature, if the spec has them (training); False:
            with both folded (deployment).
    """

    def __init__(self, spec: NetSpec, num_keypoints: int, batch_norm: bool) -> None:
        super().__init__()
        norm = batch_norm and spec.batch_norm
        self.learned_confidence = spec.learned_confidence
        self.num_keypoints = num_keypoints
        self.log_temperature = (
            nn.Parameter(torch.zeros(1)) if batch_norm and spec.learned_confidence else None
        )
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
        for width, skip in zip(spec.decoder, joined, strict=True):
            self.upsample.append(
                nn.ConvTranspose2d(channels, channels, 2, 2, bias=False)
                if spec.deconvolution
                else nn.Upsample(scale_factor=2, mode="nearest")
            )
            self.decoder.append(
                nn.Sequential(
                    _conv(channels + skip, width, spec.decoder_kernel, norm),
                    _conv(width, width, 1, norm),
                )
            )
            channels = width
        self.head = _conv(channels, channels, 1, norm) if spec.head else nn.Identity()
        # With learned confidence: K heat maps, then K maps of the confidence.
        self.heatmaps = nn.Conv2d(
            channels, num_keypoints * (2 if spec.learned_confidence else 1), 1
        )
        self.soft_argmax = SoftArgmax(
            num_keypoints,
            heatmap_size,
            CROP_PX // heatmap_size,
            spec.beta,
            unbiased=spec.learned_confidence,
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, 80, 80) grey levels 0..255 to points (N, K, 2) and confidence (N, K)."""
        features = self.features(images)
        if not self.learned_confidence:
            points, cells = self.soft_argmax(self.maps(features))
            return points, cells.amax(dim=2)
        if self.soft_argmax.products:
            return self._by_products(features)
        maps = self.maps(features)
        points, cells = self.soft_argmax(maps[:, : self.num_keypoints])
        marks = self.soft_argmax.flat(maps[:, self.num_keypoints :], self.num_keypoints)
        return points, (cells * marks).sum(dim=2).sigmoid()

    def outputs(self, images: Tensor) -> NetOutput:
        """(N, 1, 80, 80) grey levels to the outputs that the losses use."""
        maps = self.maps(self.features(images))
        if self.learned_confidence:
            marginals, logits = ReadMaps.apply(maps)  # type: ignore[no-untyped-call]
            points = self.soft_argmax.from_marginals(marginals)
            return NetOutput(points, logits, marginals)
        points, cells = self.soft_argmax(maps)
        return NetOutput(points, None, self.soft_argmax.marginals(cells))

    def features(self, images: Tensor) -> Tensor:
        """(N, 1, 80, 80) grey levels 0..255 to the features (N, C, S, S) before the maps."""
        features = self.stem(images)
        skips = []
        for block in self.encoder:
            features = block(features)
            skips.append(features)
            features = self.pool(features)
        features = self.trunk(features)
        for upsample, block in zip(self.upsample, self.decoder, strict=True):
            features = block(torch.cat((upsample(features), skips.pop()), dim=1))
        return self.head(features)  # type: ignore[no-any-return]

    def maps(self, features: Tensor) -> Tensor:
        """(N, C, S, S) features to heat maps (N, K, S, S), and K maps of a learned confidence."""
        if self.log_temperature is None:
            maps: Tensor = self.heatmaps(features)
            return maps
        return functional.conv2d(features, *self.heatmap_weights())

    def heatmap_weights(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the convolution of the maps, multiplied by the temperature factor."""
        weight, bias = self.heatmaps.weight, self.heatmaps.bias
        assert bias is not None
        if self.log_temperature is None:
            return weight, bias
        ones = torch.ones(self.num_keypoints, device=bias.device)  # for the confidence maps
        factor = torch.cat((self.log_temperature.exp().expand(self.num_keypoints), ones))
        return weight * factor[:, None, None, None], bias * factor

    def _by_products(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Points and confidence of a deployed net by matrix products.

        The mean of a linear map equals the map of the means, so the confidence maps are not needed.
        """
        assert self.heatmaps.bias is not None
        maps, marks = torch.split(self.heatmaps.weight, self.num_keypoints)
        maps_bias, marks_bias = torch.split(self.heatmaps.bias, self.num_keypoints)
        points, cells = self.soft_argmax(functional.conv2d(features, maps, maps_bias))
        channels = self.soft_argmax.flat(features, self.heatmaps.in_channels)
        means = cells @ channels.transpose(1, 2)  # (N, K, C)
        logits = (means * marks.flatten(1)).sum(dim=2) + marks_bias
        return points, logits.sigmoid()


def first_convolution(net: Recombinator) -> nn.Conv2d:
    """The convolution whose input is the image."""
    return next(module for module in net.modules() if isinstance(module, nn.Conv2d))


def build_net(name: str, num_keypoints: int, batch_norm: bool = False) -> Recombinator:
    """The variant ``name`` of NETS with initial weights."""
    if name not in NETS:
        raise InputError(f"unknown net {name!r}; choose one of {sorted(NETS)}")
    return Recombinator(NETS[name], num_keypoints, batch_norm)


_WIDE = (64, 64, 64, 64)

NETS: dict[str, NetSpec] = {
    "base": NetSpec(_WIDE, 64, _WIDE, deconvolution=True),
    "base_5x5": NetSpec(_WIDE, 64, _WIDE, decoder_kernel=5, deconvolution=True, head=False),
    "release": NetSpec(_WIDE, 64, _WIDE),
    "public": NetSpec(_WIDE, 64, _WIDE, deconvolution=True, head=False),
    "nano": NetSpec(
        (32, 64, 128), 128, (128, 64), stem=2, batch_norm=True, beta=1.0, learned_confidence=True
    ),
    "small": NetSpec(
        (24, 48, 80), 80, (64, 40, 32), stem=2, batch_norm=True, beta=1.0, learned_confidence=True
    ),
    "large": NetSpec(
        (48, 96, 160),
        192,
        (128, 96, 64),
        stem=2,
        batch_norm=True,
        beta=1.0,
        learned_confidence=True,
    ),
}
