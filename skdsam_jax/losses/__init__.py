"""The losses of self-distillation: pure functions of logits, features and labels.

A network with C exits gives one array per exit, from shallow to deep: logits z^i [batch, classes]
and pooled features F_i [batch, D]. The deepest exit C is the teacher of the shallow ones. No
gradient reaches it through a comparison with a student: wherever an argument is called "teacher",
and for the last array in the losses of a whole network, `jax.lax.stop_gradient` stands in between.

Everything is computed in float32, or in the inputs' type where that is wider. Labels are either
integers [batch] or probabilities [batch, classes]; an integer that names no class gives NaN.

The losses of a whole network return a scalar, the mean over the batch, and `terms`: the
per-example parts it is made of, without any of the weights.

"Thesis" in the docstrings is the one that introduced SKDSAM, "Self-Knowledge Distillation with
Self-Attention Mechanism", and PD-BYOT; it is written in Chinese.
"""

from skdsam_jax.attention import attention_weights, soften
from skdsam_jax.losses.divergences import distillation_kl
from skdsam_jax.losses.exits import byot_loss, pd_byot_loss, skdsam_loss
from skdsam_jax.losses.features import REDUCTIONS, normalized_l1, squared_l2
from skdsam_jax.losses.labels import cross_entropy
from skdsam_jax.losses.teachers import knowledge_distillation_loss

__all__ = [
    "REDUCTIONS",
    "attention_weights",
    "byot_loss",
    "cross_entropy",
    "distillation_kl",
    "knowledge_distillation_loss",
    "normalized_l1",
    "pd_byot_loss",
    "skdsam_loss",
    "soften",
    "squared_l2",
]
