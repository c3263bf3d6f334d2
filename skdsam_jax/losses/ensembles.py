"""A network that stands for a whole ensemble: its outputs are a Dirichlet distribution."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln
from jax.typing import ArrayLike

from skdsam_jax.arguments import as_exits, as_matrix, check_fraction, check_temperature
from skdsam_jax.attention import soften
from skdsam_jax.losses.result import Loss


def ensemble_distribution_loss(
    logits: jax.Array,
    member_logits: Sequence[jax.Array],
    *,
    temperature: ArrayLike = 1.0,
    smoothing: ArrayLike = 1e-3,
) -> Loss:
    """EnD^2, ensemble distribution distillation: the likelihood of the members' predictions.

    Equation: L = T^2 NLL, NLL = sum_j lgamma(alpha_j) - lgamma(alpha_0)
    - sum_j (alpha_j - 1) mean_m log pi^m_j; averaged over the batch, where alpha = exp(z / T),
    alpha_0 = sum_j alpha_j and pi^m = (1 - g) softmax(z^m / T) + g / K for K classes

    No labels are needed. Clip gradients: they grow with alpha (the code clips at 10).

    Args:
      logits: z, [batch, classes].
      member_logits: z^m, one array [batch, classes] for each of 1 or more members; no gradient.
      temperature: T > 0, annealed to 1 while training.
      smoothing: g, from 0 to 1; with 0 a member's probability may be 0, and the loss infinite.

    Returns:
      The scalar and its term "negative_log_likelihood" [batch], without T^2.

    Raises:
      ValueError: no members, shapes that do not fit, `temperature` not positive, or `smoothing`
        outside [0, 1].

    Example:
      >>> ensemble_distribution_loss(jnp.zeros((1, 3)), jnp.zeros((2, 1, 3)))[0].round(3)  # -log 2
      Array(-0.693, dtype=float32)

    Source: Malinin et al., ICLR 2020, arXiv:1905.00076, and its official code.
    """
    check_temperature("temperature", temperature)
    check_fraction("smoothing", smoothing)
    logits = as_matrix("logits", logits)
    members = jnp.stack(as_exits("member_logits", member_logits, minimum=1))
    if members.shape[1:] != logits.shape:
        raise ValueError(
            f"member_logits: each must have the shape of logits {logits.shape}, "
            f"not {members.shape[1:]}"
        )
    members = jax.lax.stop_gradient(members.astype(logits.dtype))
    probabilities = (1 - smoothing) * soften(members, temperature) + smoothing / logits.shape[1]
    evidence = jnp.exp(logits / temperature)
    nll = (
        jnp.sum(gammaln(evidence), axis=-1)
        - gammaln(jnp.sum(evidence, axis=-1))
        - jnp.sum((evidence - 1) * jnp.mean(jnp.log(probabilities), axis=0), axis=-1)
    )
    return jnp.mean(temperature**2 * nll), {"negative_log_likelihood": nll}


def dirichlet_uncertainty(logits: jax.Array) -> dict[str, jax.Array]:
    """What a network of Dirichlet outputs does not know, and why, in nats.

    Equation, with alpha = exp(z), alpha_0 its sum, p = alpha / alpha_0 and psi the digamma
    function:

    * total = -sum_j p_j log p_j
    * data = -sum_j p_j (psi(alpha_j + 1) - psi(alpha_0 + 1)): expected from the images themselves
    * knowledge = total - data: the ensemble's disagreement

    Args:
      logits: z, [batch, classes]; above 88 in float32 alpha is infinite.

    Returns:
      "total", "data" and "knowledge", each [batch].

    Raises:
      ValueError: logits that are not [batch, classes].

    Example:
      >>> {name: float(value[0].round(3)) for name, value in
      ...  dirichlet_uncertainty(jnp.zeros((1, 2))).items()}
      {'total': 0.693, 'data': 0.5, 'knowledge': 0.193}

    Source: as `ensemble_distribution_loss`.
    """
    logits = as_matrix("logits", logits)
    evidence = jnp.exp(logits)
    precision = jnp.sum(evidence, axis=-1, keepdims=True)
    log_probabilities = jax.nn.log_softmax(logits, axis=-1)
    probabilities = jnp.exp(log_probabilities)
    total = -jnp.sum(probabilities * log_probabilities, axis=-1)
    data = -jnp.sum(probabilities * (digamma(evidence + 1) - digamma(precision + 1)), axis=-1)
    return {"total": total, "data": data, "knowledge": total - data}
