"""The losses of self-distillation: pure functions of logits, features and labels.

A network with C exits gives one array per exit, from shallow to deep: logits z^i [batch, classes]
and pooled features F_i [batch, D]. The deepest exit C is the teacher of the shallow ones. No
gradient reaches it through a comparison with a student: wherever an argument is called "teacher",
and for the last array in the losses of a whole network, `jax.lax.stop_gradient` stands in between.

Everything is computed in float32, or in the inputs' type where that is wider. Labels are either
integers [batch] or probabilities [batch, classes]; an integer that names no class gives NaN. A loss
that asks which class is the label's takes integers only, and says so.

Several exits, stages, peers, members or teachers come as a tuple, a list, or an array stacked on
axis 0; maps of different shapes as a tuple or list. Weights, temperatures and schedules may be
traced. Unless a docstring says that it couples the batch, a loss is a mean of what its examples
give one by one.

The losses of a whole network return a scalar, the mean over the batch, and `terms`: the
per-example parts it is made of, without any of the weights.

"Thesis" in the docstrings is the one that introduced SKDSAM, "Self-Knowledge Distillation with
Self-Attention Mechanism", and PD-BYOT; it is written in Chinese.
"""

from skdsam_jax.attention import attention_weights, soften
from skdsam_jax.losses.batches import bake_affinity, bake_loss, bake_targets
from skdsam_jax.losses.divergences import distillation_kl
from skdsam_jax.losses.ensembles import dirichlet_uncertainty, ensemble_distribution_loss
from skdsam_jax.losses.exits import byot_loss, pd_byot_loss, skdsam_loss
from skdsam_jax.losses.features import REDUCTIONS, normalized_l1, squared_l2
from skdsam_jax.losses.labels import (
    SPREADS,
    cross_entropy,
    label_smoothing_loss,
    smooth_labels,
    tf_kd_reg_loss,
    virtual_teacher,
)
from skdsam_jax.losses.maps import CHANNEL_REDUCTIONS, UPSAMPLINGS, frskd_loss, sad_loss
from skdsam_jax.losses.memory import dlb_loss, initial_memory, lightskd_loss, ps_kd_loss
from skdsam_jax.losses.mixing import mixskd_loss
from skdsam_jax.losses.mutual import dks_loss, msd_loss, okddip_loss
from skdsam_jax.losses.normalized import RANKS, nkd_loss, uskd_loss, uskd_targets
from skdsam_jax.losses.pairs import (
    FEATURE_STATISTICS,
    aggregate_rotations,
    cs_kd_loss,
    ddgsd_loss,
    sla_sd_loss,
)
from skdsam_jax.losses.schedules import cosine_weight, linear_warm_up, ps_kd_alpha
from skdsam_jax.losses.teachers import feed_loss, knowledge_distillation_loss
from skdsam_jax.losses.zipf import vote_counts, zipf_loss, zipf_targets

__all__ = [
    "CHANNEL_REDUCTIONS",
    "FEATURE_STATISTICS",
    "RANKS",
    "REDUCTIONS",
    "SPREADS",
    "UPSAMPLINGS",
    "aggregate_rotations",
    "attention_weights",
    "bake_affinity",
    "bake_loss",
    "bake_targets",
    "byot_loss",
    "cosine_weight",
    "cross_entropy",
    "cs_kd_loss",
    "ddgsd_loss",
    "dirichlet_uncertainty",
    "distillation_kl",
    "dks_loss",
    "dlb_loss",
    "ensemble_distribution_loss",
    "feed_loss",
    "frskd_loss",
    "initial_memory",
    "knowledge_distillation_loss",
    "label_smoothing_loss",
    "lightskd_loss",
    "linear_warm_up",
    "mixskd_loss",
    "msd_loss",
    "nkd_loss",
    "normalized_l1",
    "okddip_loss",
    "pd_byot_loss",
    "ps_kd_alpha",
    "ps_kd_loss",
    "sad_loss",
    "skdsam_loss",
    "sla_sd_loss",
    "smooth_labels",
    "soften",
    "squared_l2",
    "tf_kd_reg_loss",
    "uskd_loss",
    "uskd_targets",
    "virtual_teacher",
    "vote_counts",
    "zipf_loss",
    "zipf_targets",
]
