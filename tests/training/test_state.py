"""The digest of a state, and where it lies."""

import jax
import jax.numpy as jnp
import numpy as np

from skdsam_jax.trained.checkpoint_files import digest
from skdsam_jax.training.state import data_mesh


def test_digest_sees_values_names_shapes_and_types_and_not_order():
    tree = {"a": np.arange(6, dtype=np.float32), "b": {"c": np.ones(2, np.int32)}}
    same = {"b": {"c": np.ones(2, np.int32)}, "a": np.arange(6, dtype=np.float32)}
    assert digest(tree) == digest(same) == digest(jax.tree.map(jnp.asarray, tree))
    changed = [
        {**tree, "a": tree["a"] + np.float32(1e-6)},
        {**tree, "a": tree["a"].reshape(2, 3)},
        {**tree, "a": tree["a"].astype(np.float64)},
        {"a": tree["a"], "b": {"d": np.ones(2, np.int32)}},
    ]
    assert len({digest(tree), *map(digest, changed)}) == 5
    assert digest({"a": 1}, {"b": 2}) != digest({"b": 2}, {"a": 1})


def test_mesh_has_one_automatic_axis_over_the_devices():
    mesh = data_mesh(jax.devices()[:2])
    assert mesh.shape == {"data": 2}
    assert mesh.axis_types == (jax.sharding.AxisType.Auto,)
