"""Backbones of the user's own: plain networks, and what they lack of a `Backbone`."""

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from skdsam_jax.models.settings import Settings
from skdsam_jax.options import ConfigError

_FIELD = "config.model.name"

# Side in pixels of the image that a network is shown, abstractly, to learn of its stages.
_SIDE = 64

# What `create_backbone` hands on beside its options; of these only `rngs` has to be taken.
_SETTINGS = ("rngs", "dtype", "param_dtype")

_MAPS = "not a list or tuple of feature maps [batch, height, width, features], shallow to deep"


class OwnBackbone(nnx.Module):
    """A network of the user's own as the rest of the library asks for it; see `Backbone`.

    Where the network has an attribute of one of these names, that is taken.

    Attributes:
      network: the user's module.
      channels: features of each of its stages.
      reductions: pixels of the input per pixel of each stage, along one side.
      bottleneck_width: features within a bottleneck head; D / 4 if the network does not say, with D
        features of the deepest stage, as in the usual ResNets.
      preactivation: whether stages hand on raw sums; False if the network does not say.
    """

    def __init__(self, network: nnx.Module, stages: "_Stages") -> None:
        self.network = network
        self.channels, self.reductions = stages
        default = max(1, stages.channels[-1] // 4)
        self.bottleneck_width = getattr(network, "bottleneck_width", default)
        self.preactivation = getattr(network, "preactivation", False)

    def __call__(self, images: jax.Array, *, train: bool) -> tuple[jax.Array, ...]:
        """The stages of images [batch, height, width, 3].

        A network whose call takes no `train` is put into Flax's own modes, `train()` and `eval()`.
        """
        return tuple(_call(self.network, images, train=train))


class CopyableOwnBackbone(OwnBackbone):
    """A network of the user's own that has `depths` and `branch`; see `Backbone`."""

    def __init__(self, network: nnx.Module, stages: "_Stages") -> None:
        super().__init__(network, stages)
        self.depths = tuple(network.depths)

    def branch(
        self, stage: int, depths: Sequence[int] | None = None, **settings: Unpack[Settings]
    ) -> nnx.Module:
        """A fresh copy of the stages after `stage`."""
        return self.network.branch(stage, depths, **settings)


class _Stages(NamedTuple):
    channels: tuple[int, ...]
    reductions: tuple[int, ...]


def create_own_backbone(name: str, constructor: Any, **keywords: Any) -> OwnBackbone:
    """Builds a network of the user's own.

    Args:
      name: module:Name of it, for messages.
      constructor: a class or function that returns an `nnx.Module`.
      **keywords: `Settings` and fields of `ModelOptions`; the constructor is given those it takes.

    Returns:
      The network as a backbone, with freshly initialised parameters.

    Raises:
      ConfigError: it is no backbone, or does not take a field that was set.
    """
    given = _arguments(name, constructor, keywords)
    rngs = given.pop("rngs")
    stages = _look(name, constructor, tuple(sorted(given.items())))
    network = constructor(rngs=rngs, **given)
    copyable = hasattr(network, "branch") and hasattr(network, "depths")
    return (CopyableOwnBackbone if copyable else OwnBackbone)(network, stages)


def _arguments(name: str, constructor: Any, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `keywords` that `constructor` takes."""
    if not callable(constructor):
        raise ConfigError(f"{_FIELD}: takes a class or function, and {name} is {constructor!r}")
    parameters = _signature(constructor).parameters.values()
    named = {
        parameter.name
        for parameter in parameters
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    }
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        named |= {*_SETTINGS}
    needed = {
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    problems = []
    if "rngs" not in named:
        problems.append("takes no rngs, from which its layers are initialised")
    if unknown := sorted(needed - {*_SETTINGS, *keywords}):
        problems.append(f"asks for {', '.join(unknown)}, which need a default")
    _refuse(name, problems)
    for option, value in keywords.items():
        # A network that has no choice of stems is taken as one for small images.
        if option not in (*named, *_SETTINGS) and (option, value) != ("stem", "small"):
            raise ConfigError(f"config.model.{option}: {name} takes none, so not {value!r}")
    if keywords.get("dtype") == jnp.bfloat16 and "dtype" not in named:
        raise ConfigError(
            f"config.training.compute_dtype: takes float32 with {name}, which takes no dtype"
        )
    return {keyword: value for keyword, value in keywords.items() if keyword in named}


@functools.lru_cache(maxsize=32)
def _look(
    name: str, constructor: Callable[..., Any], given: tuple[tuple[str, Any], ...]
) -> _Stages:
    """Stages of the network; builds it abstractly and calls it once if it does not say them.

    Raises:
      ConfigError: it is no backbone.
    """
    said: list[_Stages] = []

    def run(images: jax.Array) -> Any:
        network = constructor(rngs=nnx.Rngs(0), **dict(given))
        if not isinstance(network, nnx.Module):
            _refuse(name, [f"is no nnx.Module but {type(network).__name__}"])
        if hasattr(network, "channels") and hasattr(network, "reductions"):
            said.append(_Stages(tuple(network.channels), tuple(network.reductions)))
            return []
        stages = _call(network, images, train=True)
        maps = isinstance(stages, Sequence) and all(hasattr(stage, "shape") for stage in stages)
        if not maps:
            _refuse(name, [f"returns {type(stages).__name__}, {_MAPS}"])
        return list(stages)

    images = jax.ShapeDtypeStruct((2, _SIDE, _SIDE, 3), dict(given).get("dtype", jnp.float32))
    try:
        shapes = [tuple(stage.shape) for stage in jax.eval_shape(run, images)]
    except ConfigError:
        raise
    except Exception as error:  # Its code is the user's.
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(
            f"{_FIELD}: {name} failed on images {list(images.shape)}: {text}"
        ) from error
    stages = said[0] if said else _stages_of(name, shapes)
    _refuse(name, _problems(stages))
    return stages


def _stages_of(name: str, shapes: list[tuple[int, ...]]) -> _Stages:
    if not all(len(shape) == 4 and shape[0] == 2 for shape in shapes):
        _refuse(name, [f"returns arrays of {', '.join(map(str, shapes))}, {_MAPS}"])
    return _Stages(
        tuple(shape[3] for shape in shapes), tuple(round(_SIDE / shape[1]) for shape in shapes)
    )


def _problems(stages: _Stages) -> Iterator[str]:
    if len(stages.channels) < 2:
        yield f"has {len(stages.channels)} stage(s), and exits take two or more"
    if any(deep != 2 * shallow for shallow, deep in itertools.pairwise(stages.reductions)):
        yield (
            f"has stages of 1/{', 1/'.join(map(str, stages.reductions))} of the image's side, and "
            "each must have half of the one before"
        )


def _refuse(name: str, problems: Iterable[str]) -> None:
    """Raises a ConfigError that names all `problems`, if there are any."""
    if problems := list(problems):
        raise ConfigError(f"{_FIELD}: {name} {'; '.join(problems)}")


def _call(network: nnx.Module, images: jax.Array, *, train: bool) -> Any:
    if "train" in inspect.signature(type(network).__call__).parameters:
        return network(images, train=train)
    network.train() if train else network.eval()
    return network(images)


def _signature(constructor: Callable[..., Any]) -> inspect.Signature:
    """What it takes; of an `nnx.Module` `inspect` sees only that its metaclass takes anything."""
    if isinstance(constructor, functools.partial):

        def stand_in() -> None: ...

        stand_in.__signature__ = _signature(constructor.func)
        return inspect.signature(
            functools.partial(stand_in, *constructor.args, **constructor.keywords)
        )
    if isinstance(constructor, type):
        return inspect.signature(functools.partial(constructor.__init__, None))
    return inspect.signature(constructor)
