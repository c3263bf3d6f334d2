"""The networks of this library in PyTorch, module for module under the same attribute names.

Written for the benchmark as one would write them for PyTorch: `conversion.to_pytorch` fills them,
so initialisation is left at PyTorch's own.
"""

import itertools
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from benchmarks.pytorch_wide_resnet import WideResNet


class Outputs(NamedTuple):
    """What a network computes at its exits, shallow to deep.

    Attributes:
      logits: [batch, classes] per exit.
      features: [batch, D] per exit, pooled.
      projections: [batch, D] per exit, or None.
    """

    logits: list[torch.Tensor]
    features: list[torch.Tensor]
    projections: list[torch.Tensor] | None


class ConvNorm(nn.Module):
    """A convolution without bias and batch normalisation."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int | None = None
    ) -> None:
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps [batch, inputs, height, width] to the outputs."""
        return self.norm(self.conv(images))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.ModuleList(
            [ConvNorm(inputs, outputs, 3, stride), ConvNorm(outputs, outputs, 3)]
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else ConvNorm(inputs, outputs, 1, stride)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps [batch, inputs, height, width] to the outputs."""
        first, second = self.branch
        features = second(F.relu(first(images), inplace=True))
        shortcut = images if self.shortcut is None else self.shortcut(images)
        return F.relu(features + shortcut, inplace=True)


class ResNet18(nn.Module):
    """A post-activation ResNet-18 for small images."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bottleneck_width = 2 * width
        self.channels = [width * 2**stage for stage in range(4)]
        self.preactivation = False
        self.stem = ConvNorm(3, width, 3)
        self.stages = nn.ModuleList()
        inputs = width
        for stage, outputs in enumerate(self.channels):
            first = BasicBlock(inputs, outputs, stride=1 if stage == 0 else 2)
            self.stages.append(nn.ModuleList([first, BasicBlock(outputs, outputs, 1)]))
            inputs = outputs

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The output of every stage."""
        features = F.relu(self.stem(images), inplace=True)
        stages = []
        for blocks in self.stages:
            for block in blocks:
                features = block(features)
            stages.append(features)
        return stages


class SepConv(nn.Module):
    """Two depthwise-separable convolutions, the first with stride 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = nn.ModuleList(
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False) for stride in (2, 1)
        )
        self.pointwise = nn.ModuleList([ConvNorm(inputs, inputs, 1), ConvNorm(inputs, outputs, 1)])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps [batch, inputs, height, width] to half the size."""
        for depthwise, pointwise in zip(self.depthwise, self.pointwise, strict=True):
            images = F.relu(pointwise(depthwise(images)), inplace=True)
        return images


class AttentionLink(nn.Module):
    """A mask for the output of a stage."""

    def __init__(self, features: int, preactivation: bool) -> None:
        super().__init__()
        self.preactivation = nn.BatchNorm2d(features) if preactivation else None
        self.sepconv = SepConv(features, features)
        self.norm = nn.BatchNorm2d(features)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The mask of a stage's output, of the same shape."""
        features = _preactivate(self.preactivation, images)
        features = F.relu(self.norm(self.sepconv(features)), inplace=True)
        size = images.shape[2:]
        features = F.interpolate(features, size=size, mode="bilinear", align_corners=False)
        return torch.sigmoid(features)


class SepConvHead(nn.Module):
    """An attention link, then one SepConv for each stage still to come."""

    def __init__(self, channels: list[int], preactivation: bool) -> None:
        super().__init__()
        self.link = AttentionLink(channels[0], preactivation)
        self.preactivation = nn.BatchNorm2d(channels[0]) if preactivation else None
        pairs = itertools.pairwise(channels)
        self.sepconvs = nn.ModuleList(SepConv(shallow, deep) for shallow, deep in pairs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps a stage's output to features [batch, D]."""
        features = _preactivate(self.preactivation, images * self.link(images))
        for sepconv in self.sepconvs:
            features = sepconv(features)
        return _pool(features)


class BottleneckHead(nn.Module):
    """1x1, k x k of stride k, and 1x1 convolutions."""

    def __init__(
        self, inputs: int, width: int, outputs: int, reduction: int, preactivation: bool
    ) -> None:
        super().__init__()
        self.preactivation = nn.BatchNorm2d(inputs) if preactivation else None
        self.units = nn.ModuleList(
            [
                ConvNorm(inputs, width, 1),
                ConvNorm(width, width, reduction, reduction, 0),
                ConvNorm(width, outputs, 1),
            ]
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps a stage's output to features [batch, D]."""
        features = _preactivate(self.preactivation, images)
        for unit in self.units:
            features = F.relu(unit(features), inplace=True)
        return _pool(features)


class Projection(nn.Module):
    """Dense, BN, ReLU, Dense."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.inner = nn.Linear(features, features)
        self.norm = nn.BatchNorm1d(features)
        self.outer = nn.Linear(features, features)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Maps pooled features [batch, D] to the query or key [batch, D]."""
        return self.outer(F.relu(self.norm(self.inner(features)), inplace=True))


class Network(nn.Module):
    """A backbone with the exits of a method."""

    def __init__(self, method: str, model: str, width: int, classes: int) -> None:
        super().__init__()
        backbone = {"resnet18": ResNet18, "wrn16_2": WideResNet}[model](width)
        channels = backbone.channels
        self.classifier = nn.ModuleDict(
            {"backbone": backbone, "dense": nn.Linear(channels[-1], classes)}
        )
        self.exits = self.projections = None
        if method != "cross_entropy":
            self.exits = nn.ModuleDict(
                {
                    "heads": nn.ModuleList(_heads(method, backbone)),
                    "dense": nn.ModuleList(nn.Linear(channels[-1], classes) for _ in channels[1:]),
                }
            )
        if method == "skdsam":
            self.projections = nn.ModuleList(Projection(channels[-1]) for _ in channels)

    def forward(self, images: torch.Tensor) -> Outputs:
        """What the exits compute."""
        *shallow, deepest = self.classifier["backbone"](images)
        features, denses = [_pool(deepest)], [self.classifier["dense"]]
        if self.exits is not None:
            heads = zip(self.exits["heads"], shallow, strict=True)
            features = [head(stage) for head, stage in heads] + features
            denses = [*self.exits["dense"], *denses]
        logits = [dense(feature) for dense, feature in zip(denses, features, strict=True)]
        projections = None
        if self.projections is not None:
            pairs = zip(self.projections, features, strict=True)
            # The attention trains the projections, not the features below them.
            projections = [project(feature.detach()) for project, feature in pairs]
        return Outputs(logits, features, projections)


def _heads(method: str, backbone: Any) -> list[nn.Module]:
    channels, preactivation = backbone.channels, backbone.preactivation
    stages = range(len(channels) - 1)
    if method == "skdsam":
        return [SepConvHead(channels[stage:], preactivation) for stage in stages]
    width, deepest = backbone.bottleneck_width, channels[-1]
    return [
        BottleneckHead(channels[stage], width, deepest, 2 ** (stages.stop - stage), preactivation)
        for stage in stages
    ]


def _preactivate(norm: nn.BatchNorm2d | None, images: torch.Tensor) -> torch.Tensor:
    return images if norm is None else F.relu(norm(images), inplace=True)


def _pool(images: torch.Tensor) -> torch.Tensor:
    """The mean over height and width, not in bfloat16."""
    wide = torch.promote_types(images.dtype, torch.float32)
    return images.mean((2, 3), dtype=wide)
