"""From an experiment to its network."""

import jax
import jax.numpy as jnp
from flax import nnx

from skdsam_jax.experiment.config import Experiment
from skdsam_jax.experiment.run_options import TrainingOptions
from skdsam_jax.methods import Method, create_method
from skdsam_jax.models import BACKBONES, ModelOptions, create_backbone, use_convolution


def build_method(experiment: Experiment, num_classes: int, rngs: nnx.Rngs) -> Method:
    """The network and loss of an experiment."""
    settings = compute_types(experiment.training) | {"rngs": rngs}
    model = experiment.model
    backbone = create_backbone(**model.of_backbone(), **settings)
    cap = model.head_width_cap
    method = create_method(experiment.method, backbone, num_classes, head_width_cap=cap, **settings)
    use_convolution(method, model.form_of_convolution)
    return method


def check_model(options: ModelOptions) -> None:
    """Builds the backbone without its arrays, so that what it refuses is known before any data.

    Raises:
      ConfigError: as `create_backbone`.
    """
    # Whatever the table names can be built; a DenseNet takes seconds.
    settings = options.of_backbone()
    if options.name not in BACKBONES or settings != ModelOptions(options.name).of_backbone():
        nnx.eval_shape(lambda: create_backbone(**settings, rngs=nnx.Rngs(0)))


def compute_types(options: TrainingOptions) -> dict[str, jnp.dtype]:
    """`dtype` and `param_dtype` of a network's modules.

    Under x64 parameters and float32's computations become float64: rounding then hides no
    difference between two runs that should be equal.
    """
    wide = jnp.dtype("float64" if jax.config.jax_enable_x64 else "float32")
    half = options.compute_dtype == "bfloat16"
    return {"dtype": jnp.dtype("bfloat16") if half else wide, "param_dtype": wide}
