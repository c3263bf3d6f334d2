"""Values and gradients of every loss against recorded float64 numbers (golden/losses.npz)."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skdsam_jax import losses

with np.load(pathlib.Path(__file__).parents[1] / "golden" / "losses.npz") as file:
    GOLDEN = dict(file)
INPUTS = ("logits", "features", "projections", "labels", "soft_labels")
PRECISIONS = ("float32", "float64")

# The per-example functions: golden name -> function of the golden inputs.
VALUES = {
    "cross_entropy": lambda g: [losses.cross_entropy(z, g["labels"]) for z in g["logits"]],
    "cross_entropy_soft": lambda g: [
        losses.cross_entropy(z, g["soft_labels"]) for z in g["logits"]
    ],
    "squared_l2": lambda g: [losses.squared_l2(f, g["features"][3]) for f in g["features"][:3]],
    "attention_scaled_dot": lambda g: losses.attention_weights(
        g["projections"][3], g["projections"][:3], energy="scaled_dot"
    ),
}
for t in (1, 3, 4):
    VALUES[f"kl_T{t}"] = lambda g, t=t: [
        losses.distillation_kl(z, g["logits"][3], t) for z in g["logits"][:3]
    ]
for reduction in ("mean", "sum"):
    VALUES[f"normalized_l1_{reduction}"] = lambda g, reduction=reduction: [
        losses.normalized_l1(f, g["features"][3], reduction) for f in g["features"][:3]
    ]
for t in (1, 2, 4):
    for energy in ("softmax_dot", "dot"):
        VALUES[f"attention_{energy}_T{t}"] = lambda g, t=t, energy=energy: losses.attention_weights(
            g["projections"][3], g["projections"][:3], t, energy
        )

# The losses of whole networks: golden name -> function and settings; {} tests the defaults.
SCALARS = {
    "skdsam": (losses.skdsam_loss, {}),
    "skdsam_T1_Ta2_dot": (
        losses.skdsam_loss,
        {"temperature": 1.0, "attention_temperature": 2.0, "energy": "dot"},
    ),
    "skdsam_lam05_beta50": (
        losses.skdsam_loss,
        {"distillation_weight": 0.5, "feature_weight": 50.0},
    ),
    "skdsam_uniform": (losses.skdsam_loss, {"energy": "uniform"}),
    "byot": (losses.byot_loss, {}),
    "byot_alpha05_T1": (losses.byot_loss, {"alpha": 0.5, "temperature": 1.0}),
    "pd_byot_06_11_10": (losses.pd_byot_loss, {}),
    "pd_byot_10_05_12": (
        losses.pd_byot_loss,
        {"decay_ce": 1.0, "decay_kl": 0.5, "decay_feature": 1.2},
    ),
}


def inputs(precision):
    arrays = {name: GOLDEN[name] for name in INPUTS}
    return {
        name: jnp.asarray(array, array.dtype if name == "labels" else precision)
        for name, array in arrays.items()
    }


def assert_golden(name, actual, precision):
    expected = GOLDEN[name]
    assert actual.dtype == precision
    assert actual.shape == expected.shape
    tolerance = {"float32": 1e-5, "float64": 1e-11}[precision]
    if precision == "float32" and "grad_projections" in name:
        tolerance = 1e-4
    largest = np.abs(expected).max()
    allowed = tolerance * largest + 1e-12 if largest else 0.0
    difference = np.abs(np.asarray(actual, np.float64) - expected).max()
    assert difference <= allowed, f"{name}: {difference:.3g} > {allowed:.3g}"


def gradient_names(name):
    arguments = ["logits", "features"]
    if SCALARS[name][0] is losses.skdsam_loss:
        arguments.append("projections")
    return arguments, [f"{name}_grad_{argument}{i}" for argument in arguments for i in range(4)]


def test_every_golden_array_is_tested():
    gradients = {key for name in SCALARS for key in gradient_names(name)[1]}
    assert {*INPUTS, *VALUES, *SCALARS, *gradients} == set(GOLDEN)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", VALUES)
def test_per_example_values(name, precision):
    with jax.enable_x64(precision == "float64"):
        actual = jnp.asarray(VALUES[name](inputs(precision)))
    assert_golden(name, actual, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", SCALARS)
def test_scalars_and_gradients(name, precision):
    function, settings = SCALARS[name]
    arguments, names = gradient_names(name)

    def loss(exits, labels):
        return function(*exits, labels, **settings)

    with jax.enable_x64(precision == "float64"):
        golden = inputs(precision)
        exits = [list(golden[argument]) for argument in arguments]
        compiled = jax.jit(jax.value_and_grad(loss, has_aux=True))
        (scalar, _), gradients = compiled(exits, golden["labels"])
    assert_golden(name, scalar, precision)
    for key, gradient in zip(names, jax.tree.leaves(gradients), strict=True):
        assert_golden(key, gradient, precision)
