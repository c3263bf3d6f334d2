"""torchvision's ResNet, ResNeXt and DenseNet at inference, under its names, in a few lines.

Written after the published descriptions, so that files can be compared without torchvision. What
decides is that `load_state_dict` takes a file's names and that the logits are the same.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812


class Block(nn.Module):
    """A basic block or, if its second convolution is not the last, a bottleneck."""

    def __init__(
        self, inputs: int, inner: int, outputs: int, stride: int, *, bottleneck: bool, groups: int
    ) -> None:
        super().__init__()
        if bottleneck:
            self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
            self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
            self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(outputs)
        else:
            self.conv1 = nn.Conv2d(inputs, inner, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(inner, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(inner), nn.BatchNorm2d(inner)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [batch, inputs, height, width] to the outputs."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "conv3"):
            y = self.bn3(self.conv3(F.relu(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """A ResNet or, with groups, a ResNeXt."""

    def __init__(
        self,
        depths: Sequence[int],
        classes: int,
        *,
        width: int = 64,
        stem: str = "imagenet",
        bottleneck: bool = False,
        groups: int = 1,
        group_width: int = 64,
    ) -> None:
        super().__init__()
        self.pooled = stem == "imagenet"
        kernel, stride = (7, 2) if self.pooled else (3, 1)
        self.conv1 = nn.Conv2d(3, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages, inputs = len(depths), width
        for stage, depth in enumerate(depths):
            features = width * 2**stage
            inner = groups * (features * group_width // 64)
            outputs = 4 * features if bottleneck else features
            blocks = []
            for block in range(depth):
                stride = 2 if stage and not block else 1
                kind = {"bottleneck": bottleneck, "groups": groups}
                blocks.append(Block(inputs, inner, outputs, stride, **kind))
                inputs = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of normalised images [batch, 3, height, width]."""
        x = F.relu(self.bn1(self.conv1(x)))
        if self.pooled:
            x = F.max_pool2d(x, 3, 2, 1)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


class DenseLayer(nn.Module):
    """Two pre-activation convolutions, whose result follows what they read."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [batch, inputs, height, width] to inputs + growth."""
        y = self.conv1(F.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(F.relu(self.norm2(y)))], 1)


class Transition(nn.Module):
    """Half the features and half the side."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, inputs // 2, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [batch, inputs, height, width] to half of all but the batch."""
        return F.avg_pool2d(self.conv(F.relu(self.norm(x))), 2)


class DenseNet(nn.Module):
    """A DenseNet with the stem of ImageNet."""

    def __init__(self, depths: Sequence[int], classes: int, *, width: int = 64) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(3, width, 7, 2, 3, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(width))
        self.features.add_module("relu0", nn.ReLU())
        self.features.add_module("pool0", nn.MaxPool2d(3, 2, 1))
        features, growth = width, width // 2
        for block, depth in enumerate(depths, 1):
            layers = nn.Sequential()
            for layer in range(1, depth + 1):
                layers.add_module(f"denselayer{layer}", DenseLayer(features, growth))
                features += growth
            self.features.add_module(f"denseblock{block}", layers)
            if block < len(depths):
                self.features.add_module(f"transition{block}", Transition(features))
                features //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(features))
        self.classifier = nn.Linear(features, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of normalised images [batch, 3, height, width]."""
        return self.classifier(F.relu(self.features(x)).mean((2, 3)))
