"""Checkpoints are verified whatever groups they hold, without the classes that wrote them."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from orbax.checkpoint import v1 as ocp

from skdsam_jax.trained.checkpoint_files import FORMAT, CheckpointError, digest, read

PARAMS = {"classifier": {"dense": {"bias": jnp.arange(3.0), "kernel": jnp.ones((2, 3))}}}
OPTIMIZERS = {
    "sgd": optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(lambda step: 0.1, momentum=0.9)),
    "plain": optax.sgd(0.1),
    "masked": optax.chain(
        optax.masked(optax.add_decayed_weights(1e-4), {"classifier": False}), optax.adam(0.1)
    ),
}


def _save(folder, optimizer="sgd", **groups):
    state = {
        "step": jnp.asarray(7, jnp.int32),
        "params": PARAMS,
        "model_state": {},
        "opt_state": OPTIMIZERS[optimizer].init(PARAMS),
        **groups,
    }
    items = {"state": state, "epoch": {"training": {"term/kl": jnp.ones(2)}}}
    metadata = {"format": FORMAT, "digest": digest(items)}
    ocp.save_checkpointables(folder, items, custom_metadata=metadata)
    return items


def _assert_read(folder, items):
    read_items, metadata = read(folder)
    assert metadata["digest"] == digest(items)
    assert digest(read_items["state"]["params"]) == digest(PARAMS)
    assert type(read_items["state"]["step"]) is np.ndarray


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_any_optimiser(tmp_path, optimizer):
    _assert_read(tmp_path / "7", _save(tmp_path / "7", optimizer))


@pytest.mark.parametrize(
    "memory",
    [
        {},
        {"logits": jnp.ones((4, 3)), "seen": {"indices": jnp.arange(4)}},
        {"half": jnp.ones(3, jnp.bfloat16)},
    ],
)
def test_any_other_group(tmp_path, memory):
    _assert_read(tmp_path / "7", _save(tmp_path / "7", memory=memory))


def test_another_value_anywhere_is_damage(tmp_path):
    items = _save(tmp_path / "7", memory={"logits": jnp.ones((4, 3))})
    items["state"]["memory"]["logits"] += 1
    ocp.save_checkpointables(
        tmp_path / "8",
        items,
        custom_metadata=dict(ocp.checkpointables_metadata(tmp_path / "7").custom_metadata),
    )
    with pytest.raises(CheckpointError, match="do not match their SHA-256"):
        read(tmp_path / "8")


def test_a_checkpoint_of_another_kind(tmp_path):
    ocp.save_checkpointables(tmp_path / "7", {"state": {"step": jnp.ones(1)}})
    with pytest.raises(CheckpointError, match="its metadata is missing"):
        read(tmp_path / "7")
