"""TPUs on paper: names, the roofline, what a program's text says, and the command's errors."""

import importlib.util
import json

import jax
import pytest

from benchmarks import scaling, topology
from benchmarks.chips import CHIPS, as_topology, predict
from benchmarks.collectives import Collective
from benchmarks.jax_training import make_dataset, make_experiment
from benchmarks.settings import Settings
from benchmarks.traffic import find_traffic
from skdsam_jax.training.state import data_mesh
from skdsam_jax.training.trainer import Trainer

WITHOUT = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is not None, reason="libtpu is installed"
)

# As libtpu writes it: S(1) is memory on the chip, an array without it lies in the large one.
PROGRAM = """
HloModule jit_step

%fused (parameter.0: u8[1000,12], parameter.1: s32[8]) -> u8[8,12] {
  %parameter.0 = u8[1000,12]{1,0:T(8,128)(4,1)} parameter(0)
  %parameter.1 = s32[8]{0:T(128)} parameter(1)
  ROOT %gather.1 = u8[8,12]{1,0:T(8,128)(4,1)} gather(%parameter.0, %parameter.1), slice_sizes={1,12}
}

%body (state: (s32[], f32[64])) -> (s32[], f32[64]) {
  %state = (s32[]{:T(128)}, f32[64]{0:T(128)}) parameter(0)
  %count = s32[]{:T(128)S(6)} get-tuple-element(%state), index=0
  %values = f32[64]{0:T(128)} get-tuple-element(%state), index=1
  %doubled = f32[64]{0:T(128)} add(%values, %values), backend_config={"estimated_cycles":"70"}
  ROOT %next = (s32[]{:T(128)}, f32[64]{0:T(128)}) tuple(%count, %doubled)
}

%condition (state.1: (s32[], f32[64])) -> pred[] {
  %state.1 = (s32[]{:T(128)}, f32[64]{0:T(128)}) parameter(0)
  ROOT %more = pred[]{:T(512)S(6)} constant(true)
}

ENTRY %main (x: f32[64], data: u8[1000,12], rows: s32[8]) -> (u8[8,12], f32[64]) {
  %x = f32[64]{0:T(128)} parameter(0)
  %data = u8[1000,12]{1,0:T(8,128)(4,1)} parameter(1)
  %rows = s32[8]{0:T(128)} parameter(2)
  %copy-start = (f32[64]{0:T(128)S(1)}, f32[64]{0:T(128)}, u32[]{:S(2)}) copy-start(%x)
  %copy-done = f32[64]{0:T(128)S(1)} copy-done(%copy-start)
  %kept = f32[64]{0:T(128)S(1)} negate(%copy-done), metadata={op_name="jit(step)/neg"}
  %batch = u8[8,12]{1,0:T(8,128)(4,1)S(1)} fusion(%data, %rows), kind=kCustom, calls=%fused, metadata={op_name="jit(step)/gather"}, backend_config={"estimated_cycles":"30"}
  %zero = s32[]{:T(128)} constant(0)
  %start = (s32[]{:T(128)}, f32[64]{0:T(128)}) tuple(%zero, %x)
  %loop = (s32[]{:T(128)}, f32[64]{0:T(128)}) while(%start), condition=%condition, body=%body
  %values.1 = f32[64]{0:T(128)} get-tuple-element(%loop), index=1
  ROOT %all = (u8[8,12]{1,0:T(8,128)(4,1)S(1)}, f32[64]{0:T(128)}) tuple(%batch, %values.1)
}
"""  # noqa: E501


def test_only_what_passes_between_chip_and_memory_counts():
    moved = {operation.name: operation for operation in find_traffic(PROGRAM)}
    assert {name: operation.bytes for name, operation in moved.items()} == {
        "doubled": 3 * 256,  # within the loop, once: both operands and the result
        "copy-done": 256,  # from memory to the chip
        "batch": 8 * 12 + 8 * 4,  # eight rows of the thousand, and their numbers
        "kept": 0,
    }
    assert next(iter(moved)) == "doubled"
    assert sum(operation.cycles for operation in moved.values()) == 100
    assert moved["batch"].source == "jit(step)/gather"
    assert moved["batch"].result == "u8[8,12]"
    assert moved["copy-done"].source is None


@pytest.mark.parametrize(("name", "chips"), [("v5e:2x2", 4), ("v5e:4x4", 16), ("v6e:2x4", 8)])
def test_a_name_says_kind_and_sides(name, chips):
    place = as_topology(name)
    assert place.chips == chips
    assert place.chip == CHIPS[name[:3]]
    assert place.environment["TPU_ACCELERATOR_TYPE"] == f"{place.chip.accelerator}-{chips}"


@pytest.mark.parametrize("name", ["v5e", "v5e:4", "v5e:0x4", "v4:2x2", "v5e:2x2x2", "v5e:2x2 "])
def test_another_name_ends_in_one_line(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        scaling.main(["--topology", name])
    assert stopped.value.code == 2
    assert "such as v5e:2x2, of v5e and v6e" in capsys.readouterr().err.splitlines()[-1]


def test_a_step_takes_the_slower_of_arithmetic_and_memory_and_then_the_network():
    place = as_topology("v5e:2x2")
    sent = [Collective("all-reduce", 10**9)]
    found = predict(197e12, 819e9 / 2, sent, place)
    # Of an all-reduce on four chips each sends one and a half times the bytes, over two links; to
    # the far corner and back are four hops.
    assert found == pytest.approx(
        {
            "compute_seconds": 1.0,
            "memory_seconds": 0.5,
            "network_seconds": 1.5e9 / 100e9 + 4e-6,
            "step_seconds": 1.0 + 1.5e9 / 100e9 + 4e-6,
        }
    )
    assert predict(197e12, 819e9 * 2, [], place)["step_seconds"] == pytest.approx(2.0)


def test_a_row_says_what_was_found(capsys):
    place = as_topology("v6e:2x2")
    program = {
        "text": PROGRAM,
        "flops": 918e9,
        "bytes_accessed": 5e9,
        "memory": {"temporary": 7_000_000},
    }
    found = {"topology": place.name, **topology.describe(program, place)}
    assert "text" not in found
    json.dumps(found)
    row = topology.line(found).split()
    assert row[:6] == ["v6e:2x2", "0.92", "5.00", "0.00", "0.0", "7.0"]
    assert row[6] == "1.00"
    assert "u8[8,12]  jit(step)/gather" in topology.largest(found, 4)
    assert len(topology.largest(found, 2).splitlines()) == 2


def test_the_step_for_other_devices_is_the_one_that_a_trainer_there_compiles():
    settings = Settings(method="cross_entropy", width=4, batch_size=8, examples=16, image_size=8)
    experiment, dataset = make_experiment(settings), make_dataset(settings)
    here, there = data_mesh(jax.devices()[:1]), data_mesh()
    program = Trainer(experiment, dataset, here).lower_for(there).as_text()
    assert f"num_partitions = {there.size}" in program
    assert program == Trainer(experiment, dataset, there).lower().as_text()


@WITHOUT
def test_libtpu_that_is_not_installed_is_asked_for(capsys):
    with pytest.raises(SystemExit) as stopped:
        scaling.main(["--topology", "v5e:2x2"])
    assert stopped.value.code == 2
    assert 'pip install "jax[tpu]"' in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_a_step_is_compiled_for_chips_that_are_not_there():
    pytest.importorskip("libtpu", reason="libtpu is not installed (the extra tpu)")
    place = as_topology("v5e:2x2")
    settings = Settings(method="cross_entropy", width=8, batch_size=8, examples=32, image_size=8)
    found = topology.study(settings, place, steps=1)
    assert found["device"] == "TPU v5 lite"
    assert found["collectives"]["all-reduce"] > 0
    assert 0 < found["memory_bytes"] <= found["bytes_accessed"]
    assert found["cycles"] > 0
