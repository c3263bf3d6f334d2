"""What other libraries call the layers of a network, and how they lay out its arrays.

torchvision's and timm's ResNets, ResNeXts and DenseNets have the layers that ours have, under the
same names in both. There a convolution is [out, in, height, width] and a dense layer [out, in];
here they are [height, width, in, out] and [in, out].
"""

import dataclasses
import re

import numpy as np

# The axes of our array in the order of PyTorch's, and the reverse, by number of axes.
_TO_TORCH = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}
_FROM_TORCH = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}

_TORCH_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


@dataclasses.dataclass(frozen=True)
class Naming:
    """How a file names and lays out the arrays of a network.

    Attributes:
      name: of the naming, as a file's metadata holds it.
      stem: how the names of the first layers begin.
      head: how those of the last layer do.
      rules: a layer's path as a regular expression, and its name there; `{n1}` is the number that
        matched as `n`, counted from 1. None: paths are names, and the layout is ours.
    """

    name: str
    stem: tuple[str, ...]
    head: tuple[str, ...]
    rules: tuple[tuple[str, str], ...] | None = None

    @property
    def layout(self) -> str:
        """The axes of a convolution's kernel: height, width, in and out."""
        return "HWIO" if self.rules is None else "OIHW"

    def translate(self, path: str) -> str:
        """The name in a file of the array at `path`, such as "backbone.stem.conv.kernel".

        Raises:
          KeyError: there is no such layer.
        """
        if self.rules is None:
            return path
        layer, _, leaf = path.rpartition(".")
        for pattern, name in self.rules:
            if match := re.fullmatch(pattern, layer):
                numbers = {key: int(number) for key, number in match.groupdict().items()}
                numbers |= {f"{key}1": number + 1 for key, number in numbers.items()}
                return f"{name.format(**numbers)}.{_TORCH_LEAVES[leaf]}"
        raise KeyError(path)

    def to_file(self, array: np.ndarray) -> np.ndarray:
        """An array of ours in the layout of the file."""
        return array if self.rules is None else array.transpose(_TO_TORCH[array.ndim])

    def from_file(self, array: np.ndarray) -> np.ndarray:
        """An array of the file in our layout; one of another rank than any of ours is left."""
        if self.rules is None or array.ndim not in _FROM_TORCH:
            return array
        return array.transpose(_FROM_TORCH[array.ndim])


_BLOCK = r"backbone\.stages\.(?P<stage>\d+)\.(?P<block>\d+)"
_RESNET = Naming(
    name="torchvision",
    stem=("conv1.", "bn1."),
    head=("fc.",),
    rules=(
        (r"backbone\.stem\.conv", "conv1"),
        (r"backbone\.stem\.norm", "bn1"),
        (rf"{_BLOCK}\.branch\.(?P<unit>\d+)\.conv", "layer{stage1}.{block}.conv{unit1}"),
        (rf"{_BLOCK}\.branch\.(?P<unit>\d+)\.norm", "layer{stage1}.{block}.bn{unit1}"),
        (rf"{_BLOCK}\.shortcut\.conv", "layer{stage1}.{block}.downsample.0"),
        (rf"{_BLOCK}\.shortcut\.norm", "layer{stage1}.{block}.downsample.1"),
        ("dense", "fc"),
    ),
)

_UNIT = rf"{_BLOCK}\.units\.(?P<unit>\d+)"
_LAYER = "features.denseblock{stage1}.denselayer{block1}"
_TRANSITION = r"backbone\.transitions\.(?P<stage>\d+)"
_DENSENET = Naming(
    name="torchvision",
    stem=("features.conv0.", "features.norm0."),
    head=("classifier.",),
    rules=(
        (r"backbone\.stem(\.conv)?", "features.conv0"),
        (r"backbone\.stem\.norm", "features.norm0"),
        (rf"{_UNIT}\.norm", _LAYER + ".norm{unit1}"),
        (rf"{_UNIT}\.conv", _LAYER + ".conv{unit1}"),
        (rf"{_TRANSITION}\.norm", "features.transition{stage1}.norm"),
        (rf"{_TRANSITION}\.conv", "features.transition{stage1}.conv"),
        (r"backbone\.norm", "features.norm5"),
        ("dense", "classifier"),
    ),
)

OURS = Naming("skdsam_jax", stem=("backbone.stem.",), head=("dense.",))
"""The paths of this library and its layout."""

# A backbone that torchvision and timm have too, and how they name it.
TORCHVISION: dict[str, Naming] = {
    "resnet18": _RESNET,
    "resnet34": _RESNET,
    "resnet50": _RESNET,
    "resnext50_32x4d": _RESNET,
    "densenet121": _DENSENET,
    "densenet169": _DENSENET,
    "densenet201": _DENSENET,
}


def naming_of(backbone: str) -> Naming:
    """How a file names the layers of a backbone: as others do where they have it."""
    return TORCHVISION.get(backbone, OURS)
