"""Compares the golden entries of the peers' losses: values, terms, gradients and targets."""

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from comparison import Comparison

from skdsam_jax import losses
from skdsam_jax.losses.result import Loss

Entry = Mapping[str, np.ndarray]
Inputs = dict[str, Any]

# The largest difference relative to the largest golden value, by the type of computation.
TOLERANCES = {"float64": 1e-10, "float32": 1e-5}

# What `parameters` holds beside keywords of the loss.
_NO_KEYWORDS = {"source", "multiplier_in_the_official_code"}


def _parameters(entry: Entry, *leave_out: str) -> dict[str, Any]:
    """The keywords of an entry's loss."""
    parameters = json.loads(str(entry["parameters"]))
    return {k: v for k, v in parameters.items() if k not in {*_NO_KEYWORDS, *leave_out}}


def _inputs(entry: Entry, step: int | None = None) -> Inputs:
    """The arrays in/NAME; NAME0, NAME1, ... become one list. With a step, those in/NAME_stepN."""
    suffix = "" if step is None else f"_step{step}"
    inputs: Inputs = {}
    exits: dict[str, dict[int, jax.Array]] = {}
    for key, array in entry.items():
        found = re.fullmatch(rf"in/(\w+?)(\d*){suffix}", key)
        if not found or (step is None and re.search(r"_step\d+$", key)):
            continue
        name, number = found.groups()
        array = jnp.asarray(array, _dtype() if array.dtype.kind == "f" else None)
        if number:
            exits.setdefault(name, {})[int(number)] = array
        else:
            inputs[name] = array
    return inputs | {name: [of[i] for i in sorted(of)] for name, of in exits.items()}


def _dtype() -> np.dtype:
    """Golden values are read in JAX's default type: float64 where that is on."""
    return jax.dtypes.canonicalize_dtype(float)


def _comparison(entry: Entry, name: str, computed: jax.Array) -> Comparison:
    return Comparison(name, np.asarray(computed), entry[name], TOLERANCES[_dtype().name])


@functools.cache
def _value_and_gradients(function: Callable[..., Loss], words: tuple) -> Callable[..., Any]:
    """A compiled loss; numbers are arguments of it, so that the variants of a method share it."""

    def loss(moving: Inputs, still: Inputs) -> Loss:
        return function(**moving, **still, **dict(words))

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def _compare(
    entry: Entry,
    function: Callable[..., Loss],
    inputs: Inputs,
    step: int | None = None,
    **keywords: Any,
) -> Iterator[Comparison]:
    """Value, terms and gradients of a loss against out/loss, out/term_* and out/grad_*."""
    suffix = "" if step is None else f"_step{step}"
    moving = {k: v for k, v in inputs.items() if jax.tree.leaves(v)[0].dtype == _dtype()}
    words = {k: v for k, v in keywords.items() if isinstance(v, str | bool)}
    still = {k: v for k, v in (inputs | keywords).items() if k not in moving | words}
    compiled = _value_and_gradients(function, tuple(words.items()))
    (scalar, terms), gradients = compiled(moving, still)
    computed = {"loss": scalar} | {f"term_{name}": term for name, term in terms.items()}
    for name, gradient in gradients.items():
        if isinstance(gradient, list):
            computed |= {f"grad_{name}{i}": array for i, array in enumerate(gradient)}
        else:
            computed[f"grad_{name}"] = gradient
    for name, array in computed.items():
        key = f"out/{name}{suffix}"
        # Not every file holds terms, nor every gradient.
        if key in entry:
            yield _comparison(entry, key, array)


def _steps(entry: Entry) -> range:
    """The steps of a sequence."""
    return range(sum(key.startswith("out/loss_step") for key in entry))


def check_cs_kd(entry: Entry) -> Iterator[Comparison]:
    """CS-KD."""
    yield from _compare(entry, losses.cs_kd_loss, _inputs(entry), **_parameters(entry))


def check_ddgsd(entry: Entry) -> Iterator[Comparison]:
    """DDGSD."""
    yield from _compare(entry, losses.ddgsd_loss, _inputs(entry), **_parameters(entry))


def check_frskd(entry: Entry) -> Iterator[Comparison]:
    """FRSKD."""
    yield from _compare(entry, losses.frskd_loss, _inputs(entry), **_parameters(entry))


def check_sad(entry: Entry) -> Iterator[Comparison]:
    """SAD."""
    yield from _compare(entry, losses.sad_loss, _inputs(entry), **_parameters(entry))


def check_dks(entry: Entry) -> Iterator[Comparison]:
    """DKS, and the official code's value, which is near: that adds 1e-8 to probabilities."""
    inputs, parameters = _inputs(entry), _parameters(entry)
    yield from _compare(entry, losses.dks_loss, inputs, **parameters)
    key = "out/official_loss_with_epsilon"
    if key in entry:
        scalar, _ = losses.dks_loss(**inputs, **parameters)
        yield _comparison(entry, key, scalar)._replace(tolerance=1e-3)


def check_mixskd(entry: Entry) -> Iterator[Comparison]:
    """MixSKD, and the groups of terms that its code prints."""
    inputs, parameters = _inputs(entry), _parameters(entry, "mixing_ratio")
    parameters["mixing_ratio"] = inputs.pop("mixing_ratio")  # drawn, so it gets no gradient
    yield from _compare(entry, losses.mixskd_loss, inputs, **parameters)
    _, terms = losses.mixskd_loss(**inputs, **parameters)
    sums = {name: term.sum() / term.shape[-1] for name, term in terms.items()}
    mixed = parameters["mixed_cross_entropy_weight"] * sums["mixed_cross_entropy"]
    groups = {
        "loss_cls": sums["cross_entropy"] + mixed,
        "loss_div": parameters["temperature"] ** 2 * sums["kl"],
        "loss_fea": sums["feature"],
        "loss_gan": sums["discriminator"],
    }
    for name, computed in groups.items():
        if f"out/{name}" in entry:
            yield _comparison(entry, f"out/{name}", computed)


def check_sla_sd(entry: Entry) -> Iterator[Comparison]:
    """SLA with self-distillation, the aggregate and the turned images."""
    from skdsam_jax.methods.label_augmentation import LabelAugmentation

    inputs = _inputs(entry)
    images = inputs.pop("images")
    yield from _compare(entry, losses.sla_sd_loss, inputs, **_parameters(entry))
    aggregated = losses.aggregate_rotations(inputs["joint_logits"])
    yield _comparison(entry, "out/aggregated", aggregated)
    yield _comparison(entry, "out/turned_images", LabelAugmentation.views(images))


def check_label_smoothing(entry: Entry) -> Iterator[Comparison]:
    """Label smoothing and its targets."""
    inputs, parameters = _inputs(entry), _parameters(entry)
    yield from _compare(entry, losses.label_smoothing_loss, inputs, **parameters)
    classes = inputs["logits"].shape[1]
    targets = losses.smooth_labels(inputs["labels"], classes, **parameters)
    yield _comparison(entry, "out/targets", targets)


def check_tf_kd_reg(entry: Entry) -> Iterator[Comparison]:
    """Tf-KD_reg and its virtual teacher."""
    inputs, parameters = _inputs(entry), _parameters(entry)
    yield from _compare(entry, losses.tf_kd_reg_loss, inputs, **parameters)
    targets = losses.virtual_teacher(
        inputs["labels"],
        inputs["logits"].shape[1],
        parameters["correct_probability"],
        parameters["temperature"],
    )
    yield _comparison(entry, "out/targets", targets)


def check_ps_kd(entry: Entry) -> Iterator[Comparison]:
    """PS-KD; a sequence of epochs goes through the memory and the schedule of alpha."""
    parameters = _parameters(entry)
    if not _steps(entry):
        yield from _compare(entry, losses.ps_kd_loss, _inputs(entry), **parameters)
        return
    memory = _inputs(entry)["memory"]
    first, epochs = parameters["first_epoch"], parameters["epochs"]
    if first == 0:
        step = _inputs(entry, 0)
        # The code's store is empty; it overwrites the rows of the first epoch with the labels.
        initial = losses.initial_memory(step["labels"], memory.shape[1], memory.dtype)
        memory = memory.at[step["indices"]].set(initial)
    for i in _steps(entry):
        inputs = _inputs(entry, i)
        indices = inputs.pop("indices")
        alpha = losses.ps_kd_alpha(first + i, epochs, parameters["alpha_final"])
        yield _comparison(entry, f"out/alpha_step{i}", alpha)
        inputs["past_probabilities"] = memory[indices]
        yield from _compare(entry, losses.ps_kd_loss, inputs, step=i, alpha=alpha)
        memory = memory.at[indices].set(losses.soften(inputs["logits"], 1.0))
        yield _comparison(entry, f"out/memory_step{i}", memory)


def check_dlb(entry: Entry) -> Iterator[Comparison]:
    """DLB, step by step; the first step replays nothing."""
    for step in _steps(entry):
        yield from _compare(
            entry, losses.dlb_loss, _inputs(entry, step), step=step, **_parameters(entry)
        )


def check_lightskd(entry: Entry) -> Iterator[Comparison]:
    """LightSKD, step by step; the first step knows no previous logits."""
    for step in _steps(entry):
        yield from _compare(
            entry, losses.lightskd_loss, _inputs(entry, step), step=step, **_parameters(entry)
        )


def check_bake(entry: Entry) -> Iterator[Comparison]:
    """BAKE, its affinities and targets."""
    inputs, parameters = _inputs(entry), _parameters(entry)
    yield from _compare(entry, losses.bake_loss, inputs, **parameters)
    yield _comparison(entry, "out/affinity", losses.bake_affinity(inputs["features"]))
    targets = losses.bake_targets(
        inputs["features"],
        inputs["logits"],
        temperature=parameters["temperature"],
        omega=parameters["omega"],
    )
    yield _comparison(entry, "out/targets", targets)


def check_msd(entry: Entry) -> Iterator[Comparison]:
    """MSD, or the schedule of its feature weight."""
    inputs, parameters = _inputs(entry), _parameters(entry)
    if "step" in inputs:
        steps = parameters.pop("total")
        weights = losses.cosine_weight(inputs["step"], steps, **parameters)
        yield _comparison(entry, "out/value", weights)
    else:
        yield from _compare(entry, losses.msd_loss, inputs, **parameters)


def check_zipf(entry: Entry) -> Iterator[Comparison]:
    """Zipf's label smoothing, its targets, and its scores where these are votes."""
    inputs, parameters = _inputs(entry), _parameters(entry, "scores")
    predictions = inputs.pop("dense_predictions")
    yield from _compare(entry, losses.zipf_loss, inputs, **parameters)
    targets = losses.zipf_targets(inputs["scores"], inputs["labels"], power=parameters["power"])
    yield _comparison(entry, "out/targets", targets)
    if _parameters(entry)["scores"] == "votes":
        votes = losses.vote_counts(jax.nn.one_hot(predictions, inputs["logits"].shape[1]))
        yield _comparison(entry, "in/scores", votes)


def check_uskd(entry: Entry) -> Iterator[Comparison]:
    """USKD and its targets."""
    inputs, parameters = _inputs(entry), _parameters(entry)
    yield from _compare(entry, losses.uskd_loss, inputs, **parameters)
    target, non_target = losses.uskd_targets(**inputs, rank=parameters["rank"])
    yield _comparison(entry, "out/target_targets", target)
    yield _comparison(entry, "out/non_target_targets", non_target)


def check_nkd(entry: Entry) -> Iterator[Comparison]:
    """NKD."""
    yield from _compare(entry, losses.nkd_loss, _inputs(entry), **_parameters(entry))


def check_okddip(entry: Entry) -> Iterator[Comparison]:
    """OKDDip and the attention of its peers."""
    inputs = _inputs(entry)
    yield from _compare(entry, losses.okddip_loss, inputs, **_parameters(entry))
    attention = [
        losses.attention_weights(query, inputs["keys"], 1.0, "dot") for query in inputs["queries"]
    ]
    yield _comparison(entry, "out/attention", jnp.stack(attention))


def check_end2(entry: Entry) -> Iterator[Comparison]:
    """EnD^2, or the uncertainty of its predictions."""
    inputs, parameters = _inputs(entry), _parameters(entry)
    if "member_logits" in inputs:
        yield from _compare(entry, losses.ensemble_distribution_loss, inputs, **parameters)
    else:
        for name, value in losses.dirichlet_uncertainty(**inputs).items():
            yield _comparison(entry, f"out/{name}", value)


def check_feed(entry: Entry) -> Iterator[Comparison]:
    """FEED."""
    yield from _compare(entry, losses.feed_loss, _inputs(entry), **_parameters(entry))
