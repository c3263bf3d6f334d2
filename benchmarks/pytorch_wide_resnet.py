"""WRN-16-2 in PyTorch, under the attribute names of this library's network."""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812


class PreactivationBlock(nn.Module):
    """BN, ReLU, 3x3 convolution, twice; a convolved shortcut begins behind the first ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)])
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
                nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            ]
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps [batch, inputs, height, width] to the outputs."""
        activated = F.relu(self.norms[0](images), inplace=True)
        features = F.relu(self.norms[1](self.convs[0](activated)), inplace=True)
        shortcut = images if self.shortcut is None else self.shortcut(activated)
        return self.convs[1](features) + shortcut


class WideResNet(nn.Module):
    """Depth 16, twice as wide: three stages of two blocks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.channels = [2 * width * 2**stage for stage in range(3)]
        self.bottleneck_width = 2 * self.channels[0]
        self.preactivation = True
        self.stem = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.stages = nn.ModuleList()
        inputs = width
        for stage, outputs in enumerate(self.channels):
            first = PreactivationBlock(inputs, outputs, stride=1 if stage == 0 else 2)
            self.stages.append(nn.ModuleList([first, PreactivationBlock(outputs, outputs, 1)]))
            inputs = outputs
        self.norm = nn.BatchNorm2d(inputs)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The output of every stage."""
        features = self.stem(images)
        stages = []
        for blocks in self.stages:
            for block in blocks:
                features = block(features)
            stages.append(features)
        stages[-1] = F.relu(self.norm(features), inplace=True)
        return stages
