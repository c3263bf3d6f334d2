"""What a benchmark of the training step can vary."""

import dataclasses

MODELS = ("resnet18", "wrn16_2")
METHODS = ("cross_entropy", "byot", "skdsam")
CONVOLUTIONS = ("winograd", "direct")


@dataclasses.dataclass(frozen=True)
class Settings:
    """One network, one method and one batch, for every implementation alike.

    Attributes:
      method: one of `METHODS`, with this library's default options.
      model: "resnet18" or "wrn16_2".
      width: filters of the network's first convolution, 64 in an ordinary ResNet, 16 in a WRN.
      batch_size: images per step.
      augment: whether images are cropped at random, padded by 4 pixels, and mirrored at random.
      compute_dtype: "float32" or "bfloat16"; under bfloat16 PyTorch uses autocast.
      examples: random images that lie on the device and of which batches are made.
      image_size: their side in pixels.
      classes: how many there are.
      convolution: how this library computes 3x3 convolutions, `config.model.convolution`.
      steps_per_dispatch: steps of this library per call of its program; None: its default for the
        device.
    """

    method: str = "skdsam"
    model: str = "resnet18"
    width: int = 64
    batch_size: int = 128
    augment: bool = True
    compute_dtype: str = "float32"
    examples: int = 50_000
    image_size: int = 32
    classes: int = 100
    convolution: str = "winograd"
    steps_per_dispatch: int | None = None

    @property
    def crop_padding(self) -> int:
        """Black pixels around an image before it is cropped; 0 for no crop."""
        return 4 if self.augment else 0


# CIFAR-100's, per channel, of pixels scaled to [0, 1].
MEAN = (0.5071, 0.4865, 0.4409)
STD = (0.2673, 0.2564, 0.2762)

# The thesis' recipe, which is this library's default.
LEARNING_RATE = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
