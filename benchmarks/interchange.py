"""Networks in both directions between this library and PyTorch: `python -m benchmarks.interchange`.

For each network of ImageNet's size: its safetensors file in a network of torchvision's names, and
a file of such a network as `config.model.initial`. Weights and running statistics are random, the
images too; what is printed is the largest difference of logits over the largest logit.
"""

import dataclasses
import sys
import tempfile
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks.options import add_json, make_parser, write_json
from benchmarks.torchvision_networks import DenseNet, ResNet
from skdsam_jax.data.augmentation.augment import normalize
from skdsam_jax.interchange import export
from skdsam_jax.interchange.initial import read, resolve
from skdsam_jax.interchange.matching import match
from skdsam_jax.interchange.paths import by_path, replaced
from skdsam_jax.models import Classifier, ModelOptions, create_backbone
from skdsam_jax.models.variables import Functional
from skdsam_jax.trained import Trained
from skdsam_jax.trained.preparation import Preparation
from skdsam_jax.trained.record import NetworkRecord
from skdsam_jax.training.state import data_mesh
from skdsam_jax.training.summary import describe_commit, describe_hardware, describe_versions

CLASSES, SIZE, IMAGES, TOLERANCE = 1000, 224, 2, 1e-4

NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "resnet18": lambda: ResNet((2, 2, 2, 2), CLASSES),
    "resnet34": lambda: ResNet((3, 4, 6, 3), CLASSES),
    "resnet50": lambda: ResNet((3, 4, 6, 3), CLASSES, bottleneck=True),
    "resnext50_32x4d": lambda: ResNet(
        (3, 4, 6, 3), CLASSES, bottleneck=True, groups=32, group_width=4
    ),
    "densenet121": lambda: DenseNet((6, 12, 24, 16), CLASSES),
}


def untrained(name: str) -> Trained:
    """A network of ImageNet's size that nobody trained, as `skdsam_jax.load` gives one."""
    model = ModelOptions(name, stem="imagenet")

    def build(rngs) -> Classifier:
        backbone = create_backbone(**model.of_backbone(), rngs=rngs)
        return Classifier(backbone, CLASSES, rngs=rngs)

    params, model_state = jax.jit(lambda: Functional(build).init(0))()
    names = tuple(f"class {label}" for label in range(CLASSES))
    side = (SIZE, SIZE, 3)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return Trained(
        config={"model": dataclasses.asdict(model)},
        record=NetworkRecord(names, side, mean, std, Preparation(SIZE, 0.875, reduced=True)),
        step=0,
        params={"classifier": params},
        model_state={"classifier": model_state},
        params_digest="",
        dtype=jnp.dtype("float32"),
    )


def randomized(network: torch.nn.Module, seed: int) -> torch.nn.Module:
    """The network in its evaluation mode, with normalisations that are no identity."""
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            for values in (layer.weight.data, layer.running_var):
                values.uniform_(0.5, 1.5, generator=generator)
            for values in (layer.bias.data, layer.running_mean):
                values.uniform_(-0.3, 0.3, generator=generator)
    return network.eval()


def distances(trained: Trained, network: torch.nn.Module, images: np.ndarray) -> dict[str, float]:
    """How far the logits are apart, relative to the largest of them.

    Args:
      trained: of this library; its backbone has a name in the library's table.
      network: the same in PyTorch, under torchvision's names and with weights of its own.
      images: uint8 [batch, height, width, 3].

    Returns:
      Of PyTorch with our file, `to_pytorch`, and of ours with PyTorch's, `from_pytorch`.
    """
    pixels = np.asarray(normalize(jnp.asarray(images), trained.mean, trained.std, "float32"))
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        theirs = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
        path = f"{folder}/theirs.safetensors"
        save_file(network.state_dict(), path)
        from_pytorch = _distance(_started(trained, path).logits(images), network(theirs).numpy())
        (path,) = export(trained, "safetensors", f"{folder}/ours.safetensors")
        network.load_state_dict(load_file(path), strict=True)
        to_pytorch = _distance(network(theirs).numpy(), trained.logits(images))
    return {"to_pytorch": to_pytorch, "from_pytorch": from_pytorch}


def main() -> int:
    """The command; returns its exit code."""
    parser = make_parser("interchange", __doc__)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), help="default: all")
    add_json(parser)
    options = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, 3), np.uint8)
    measured = {}
    for seed, name in enumerate(options.networks):
        torch.manual_seed(seed)
        measured[name] = distances(untrained(name), randomized(NETWORKS[name](), seed), images)
        print(name, *(f"{way} {value:.1e}" for way, value in measured[name].items()), flush=True)
    holds = all(value <= TOLERANCE for ways in measured.values() for value in ways.values())
    result = {
        "command": " ".join(["python -m benchmarks.interchange", *sys.argv[1:]]),
        "commit": describe_commit(),
        "hardware": describe_hardware(data_mesh(jax.devices()[:1])),
        "versions": describe_versions() | {"torch": torch.__version__},
        "setting": {"images": IMAGES, "size": SIZE, "classes": CLASSES, "tolerance": TOLERANCE},
        "largest difference of logits over the largest logit": measured,
        "holds": holds,
    }
    write_json(options.json, result)
    return 0 if holds else 1


def _started(trained: Trained, file: str) -> Trained:
    """The network as a run that starts from the file has it before its first step."""
    options = resolve(
        ModelOptions(**{**trained.config["model"], "initial": file}),
        begun={},
    )
    trees = trained.params["classifier"], trained.model_state["classifier"]
    start = match(
        read(options), by_path(*trees), backbone=options.name, class_names=trained.class_names
    )
    params, model_state = ({"classifier": replaced(tree, start.arrays)} for tree in trees)
    return dataclasses.replace(trained, params=params, model_state=model_state)


def _distance(ours: jax.Array | np.ndarray, theirs: jax.Array | np.ndarray) -> float:
    ours, theirs = (np.asarray(logits) for logits in (ours, theirs))
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


if __name__ == "__main__":
    sys.exit(main())
