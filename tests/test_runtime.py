"""What is set before JAX starts; each case in a process of its own."""

import os
import subprocess
import sys

import pytest

FLAGS = "import os; from skdsam_jax import runtime; runtime.configure(); print(os.environ[{!r}])"


def run(program, **environment):
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("XLA_FLAGS", "JAX_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_the_cpu_flag_joins_those_of_the_user():
    (*users, ours) = run(FLAGS.format("XLA_FLAGS"), XLA_FLAGS="--xla_cpu_use_xnnpack=false")
    assert users == ["--xla_cpu_use_xnnpack=false"]
    assert ours == "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"


def test_the_users_own_value_of_the_flag_is_kept():
    own = "--xla_cpu_experimental_ynn_fusion_type=+individual_dot"
    assert run(FLAGS.format("XLA_FLAGS"), XLA_FLAGS=own) == [own]


@pytest.mark.parametrize(
    ("before", "missing"),
    [
        ("import jax", 0),
        ("import jax; jax.devices()", 1),
        ("runtime.configure(); import jax; jax.devices()", 0),
    ],
)
def test_flags_are_set_until_jax_has_started(before, missing):
    program = (
        f"from skdsam_jax import runtime; {before}; runtime.configure();"
        "print(len(runtime.missing_flags()), *runtime.xla_flags())"
    )
    count, *flags = run(program, JAX_PLATFORMS="cpu")
    assert int(count) == missing
    assert len(flags) == 1 - missing


def test_compilations_are_kept_per_machine(tmp_path):
    (folder,) = run(FLAGS.format("JAX_COMPILATION_CACHE_DIR"), XDG_CACHE_HOME=str(tmp_path))
    assert folder.startswith(str(tmp_path / "skdsam_jax" / "xla" / "jaxlib-"))


def test_the_users_folder_of_compilations_is_kept(tmp_path):
    name = "JAX_COMPILATION_CACHE_DIR"
    assert run(FLAGS.format(name), **{name: str(tmp_path)}) == [str(tmp_path)]
