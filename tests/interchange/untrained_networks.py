"""Networks that nobody trained: random weights, and running statistics that are no identity."""

import contextlib
import dataclasses
import functools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from skdsam_jax.interchange.names import TORCHVISION, naming_of
from skdsam_jax.models import (
    BACKBONES,
    BasicBlock,
    Block32x4d,
    BottleneckBlock,
    Classifier,
    ModelOptions,
    ResNet,
    create_backbone,
)
from skdsam_jax.models.densenet import DenseNet
from skdsam_jax.models.variables import Functional
from skdsam_jax.trained import Trained
from skdsam_jax.trained.preparation import Preparation
from skdsam_jax.trained.record import NetworkRecord

# Networks of the families' blocks in as few layers as have all of them: each layer compiles.
TINY = {
    "tiny_resnet": functools.partial(ResNet, BasicBlock, (1, 1, 2)),
    "tiny_bottlenecks": functools.partial(ResNet, BottleneckBlock, (1, 2)),
    "tiny_resnext": functools.partial(ResNet, Block32x4d, (1, 1)),
    "tiny_densenet": functools.partial(DenseNet, (1, 2, 1)),
}


@contextlib.contextmanager
def registered():
    """They stand in the library's tables; other tests must not find them there."""
    named = {name: naming_of("densenet121" if "dense" in name else "resnet18") for name in TINY}
    with mock.patch.dict(BACKBONES, TINY), mock.patch.dict(TORCHVISION, named):
        yield


def fabricate(backbone, *, classes=5, size=16, **options):
    """A loaded network such as `skdsam_jax.load` gives."""
    model = ModelOptions(backbone, **{"width": 4, **options})

    def build(rngs):
        backbone = create_backbone(**model.of_backbone(), rngs=rngs)
        return Classifier(backbone, classes, rngs=rngs)

    generator = np.random.default_rng(0)
    params, model_state = (
        _draw(tree, generator) for tree in jax.jit(lambda: Functional(build).init(0))()
    )
    record = NetworkRecord(
        class_names=tuple(f"class {label}" for label in range(classes)),
        image_shape=(size, size, 3),
        mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.3, 0.25),
        preparation=Preparation(size, 0.875, reduced=True),
    )
    return Trained(
        config={"model": dataclasses.asdict(model), "data": {}, "method": {}},
        record=record,
        step=7,
        params={"classifier": params},
        model_state={"classifier": model_state},
        params_digest=64 * "a",
        dtype=jnp.dtype("float32"),
    )


def pictures(trained, count):
    """uint8 images for the network."""
    generator = np.random.default_rng(1)
    return generator.integers(0, 256, (count, *trained.image_shape), np.uint8)


def pytorch_arrays(*, width=4, classes=10, kernel=7, seed=2):
    """What PyTorch holds of "tiny_resnet", under torchvision's names and in its layout."""
    generator = np.random.default_rng(seed)
    shapes = {"conv1": (width, 3, kernel, kernel), "bn1": (width,)}
    features = width
    for stage, depth in enumerate((1, 1, 2)):
        for block in range(depth):
            name, out = f"layer{stage + 1}.{block}", width * 2**stage
            shapes |= {f"{name}.conv1": (out, features, 3, 3), f"{name}.bn1": (out,)}
            shapes |= {f"{name}.conv2": (out, out, 3, 3), f"{name}.bn2": (out,)}
            if features != out:
                shapes |= {f"{name}.downsample.0": (out, features, 1, 1)}
                shapes |= {f"{name}.downsample.1": (out,)}
            features = out
    arrays = {
        "fc.weight": generator.normal(size=(classes, features)),
        "fc.bias": generator.normal(size=classes),
    }
    for name, shape in shapes.items():
        arrays[f"{name}.weight"] = generator.uniform(0.5, 1.5, shape)
        if len(shape) == 1:
            arrays[f"{name}.bias"] = generator.normal(size=shape)
            arrays[f"{name}.running_mean"] = generator.normal(size=shape)
            arrays[f"{name}.running_var"] = generator.uniform(0.5, 1.5, shape)
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    counts = {f"{name}.num_batches_tracked": 3 for name, shape in shapes.items() if len(shape) == 1}
    return arrays | {name: np.asarray(count) for name, count in counts.items()}


def _draw(tree, generator):
    """Normalisation's arrays drawn anew: as they start, each is an identity."""

    def draw(path, array):
        leaf = path[-1].key
        if leaf == "kernel":
            return np.asarray(array)
        low, high = (0.5, 1.5) if leaf in ("scale", "var") else (-0.3, 0.3)
        return generator.uniform(low, high, array.shape).astype(np.float32)

    return jax.tree.map_with_path(draw, tree)
