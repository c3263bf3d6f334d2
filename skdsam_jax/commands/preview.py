"""Draws what a network sees of the training images.

    skdsam preview --config cifar100:recipe=lab --out grid.png

Each row begins with an image as it is; behind it stands what training could make of it.
"""

from collections.abc import Callable, Sequence

import jax
import numpy as np
from absl import flags
from PIL import Image

from skdsam_jax.commands import command_line
from skdsam_jax.data import DataOptions, Dataset, load_dataset
from skdsam_jax.data.augmentation.distort import Look
from skdsam_jax.data.dataset import EncodedSplit
from skdsam_jax.data.pipelines.keys import moment_of
from skdsam_jax.data.pipelines.order import ReadingOrder
from skdsam_jax.data.pipelines.photograph_crops import central_crops, random_crops
from skdsam_jax.data.pipelines.resident import Resident, place, training_batch
from skdsam_jax.data.pipelines.streaming import Gathered
from skdsam_jax.data.resize import resize
from skdsam_jax.experiment.config import from_config_dict
from skdsam_jax.methods import find_method
from skdsam_jax.options import ConfigError
from skdsam_jax.reads import Reads, once

_USAGE = """\
usage: skdsam preview --config NAME[:CELL] --out FILE.png [--images N] [--versions N]
                      [--config.FIELD=VALUE ...]

  --config    the experiment, as for skdsam train
  --out       the picture to write
  --images    rows: how many images, of the run's first batch; 8 when not given
  --versions  how often each is distorted; 8 when not given
"""

# Of a tile's side on the picture, in pixels; images are enlarged by a whole number.
_TILE = 96
_GAP = 4


def main(arguments: Sequence[str]) -> int:
    """Runs the command; what a user can cause ends in one line on stderr and exit code 2."""
    argv = ["preview", *arguments]
    values = command_line.define_config_flag(argv)
    flags.DEFINE_string("out", None, "", flag_values=values)
    flags.DEFINE_integer("images", 8, "", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("versions", 8, "", lower_bound=1, flag_values=values)
    if command_line.print_help(argv, _USAGE):
        return 0
    return command_line.run(lambda: _preview(argv, values))


def _preview(argv: Sequence[str], values: flags.FlagValues) -> None:
    command_line.parse(argv, values, {"config": "configs/digits.py", "out": "grid.png"})
    experiment = from_config_dict(values["config"].value)
    method = find_method(experiment.method.name)
    dataset = load_dataset(experiment.data, experiment.seed)
    grid = draw(
        dataset,
        experiment.data,
        seed=experiment.seed,
        batch_size=min(experiment.training.batch_size, len(dataset.train)),
        images=values["images"].value,
        versions=values["versions"].value,
        reads=method.reads(experiment.method),
        views=method.views,
    )
    path = values["out"].value
    try:
        Image.fromarray(grid).save(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--out: {path} cannot be written: {error}") from error
    print(f"{path}: {grid.shape[1]}x{grid.shape[0]} pixels")


def draw(
    dataset: Dataset,
    options: DataOptions,
    *,
    seed: int,
    batch_size: int,
    images: int,
    versions: int,
    reads: Reads = once,
    views: Callable[[jax.Array], jax.Array] = lambda batch: batch,
) -> np.ndarray:
    """Draws images of a run's first batch, each as it is and in several distorted versions.

    The first version is what the run's first step sees; the others are what the same images would
    have become in the epochs after it.

    Args:
      dataset: resident or streaming.
      options: how images are distorted.
      seed: of the run.
      batch_size: of the run; Mixup and CutMix look for partners within the batch.
      images: how many of the batch, at most all.
      versions: of each.
      reads: of the method; all reads of a version stand side by side.
      views: of the method; so do all views of a read.

    Returns:
      uint8 [height, width, 3], on white.
    """
    labels = dataset.train.labels if reads.needs_labels else None
    order = ReadingOrder(seed, len(dataset.train), batch_size, reads, labels)
    rows = order.epoch(0)[0]
    look = Look(dataset.image_shape[:2], dataset.mean, dataset.std, dataset.num_classes)

    @jax.jit
    def distorted(data: Resident, epoch: jax.Array) -> jax.Array:
        moment = moment_of(seed, epoch * order.steps, steps_per_epoch=order.steps, epochs=versions)
        made = training_batch(
            data,
            rows,
            moment,
            seed=seed,
            options=options,
            look=look,
            cropped=options.pipeline == "streaming",
        )
        seen = views(made.images)
        return seen.reshape(batch_size, -1, *seen.shape[1:])[:images]

    if isinstance(dataset.train, EncodedSplit):
        originals, _ = central_crops(dataset.train, np.asarray(rows[:images, 0]))
        indices, places = np.asarray(rows).reshape(-1), np.arange(rows.size)
        crops = (
            random_crops(dataset.train, indices, places, seed=seed, epoch=epoch, step=0)
            for epoch in range(versions)
        )
        data = (Resident(*map(Gathered, cropped)) for cropped in crops)
    else:
        originals = resize(dataset.train.images[rows[:images, 0]], dataset.image_shape[0])
        data = [place(dataset.train)] * versions
    made = [_pixels(distorted(part, epoch), dataset) for epoch, part in enumerate(data)]
    return tile(np.concatenate([originals[:, None], *made], axis=1))


def tile(images: np.ndarray) -> np.ndarray:
    """Lays out uint8 [rows, columns, height, width, channels], enlarged, with white gaps."""
    rows, columns, height, width, channels = images.shape
    factor = max(1, _TILE // max(height, width))
    images = images.repeat(factor, axis=2).repeat(factor, axis=3)
    shape = (rows, columns, factor * height + _GAP, factor * width + _GAP, channels)
    padded = np.full(shape, 255, np.uint8)
    padded[:, :, _GAP:, _GAP:] = images
    laid_out = padded.swapaxes(1, 2).reshape(rows * shape[2], columns * shape[3], channels)
    return np.pad(laid_out, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255)


def _pixels(images: jax.Array, dataset: Dataset) -> np.ndarray:
    """Undoes the normalisation."""
    levels = (np.asarray(images, np.float64) * dataset.std + dataset.mean) * 255
    return levels.round().clip(0, 255).astype(np.uint8)
