"""Reading collectives from HLO, and what they are predicted to take."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks.collectives import (
    Collective,
    Interconnect,
    find_collectives,
    seconds_between,
)
from skdsam_jax.training.state import data_mesh


def test_sizes_are_read_from_the_text():
    text = """
      %a = f32[8,4]{1,0} all-reduce(%x), replica_groups={{0,1}}
      ROOT %b = (bf16[10]{0}, s32[]) all-reduce-start(%y, %z), channel_id=1
      %c = (bf16[10]{0}, s32[]) all-reduce-done(%b)
      %d = u8[16]{0} all-gather(%w), dimensions={0}
      %e = f32[8]{0} fusion(%a), metadata={op_name="all-reduce"}
    """
    assert find_collectives(text) == [
        Collective("all-reduce", 128),
        Collective("all-reduce", 24),
        Collective("all-gather", 16),
    ]


def test_those_of_a_real_program_are_found():
    mesh = data_mesh()
    sharding = jax.sharding.NamedSharding(mesh, jax.P("data"))
    values = jax.device_put(jnp.ones((8, 5)), sharding)
    replicated = jax.sharding.NamedSharding(mesh, jax.P())
    compiled = jax.jit(lambda x: x.sum(0), out_shardings=replicated).lower(values).compile()
    assert find_collectives(compiled.as_text()) == [Collective("all-reduce", 20)]


def test_time_is_latency_and_twice_the_bytes_of_a_reduction():
    network = Interconnect(bandwidth=100.0, latency=1.0)
    sent = [Collective("all-reduce", 400), Collective("all-gather", 400)]
    assert seconds_between(sent, 4, network) == pytest.approx(2 + 6 + 3)
    assert seconds_between(sent, 1, network) == 0
