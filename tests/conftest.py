"""Settings every test runs under; they must be in place before JAX starts."""

import gc
import importlib.metadata
import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Commands that tests run within their own process must not start it anew.
os.environ.setdefault("LD_PRELOAD", "")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
# One cache of compilations serves all processes of a test run and those that tests start. Tests are
# made of many small ones, which JAX does not keep by default.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# Most of a test's time is compilation, and most of that is what turns a program's operations into
# machine code, which runs twice. What XLA itself does to a program, all that tests look at, stays
# as it is: LLVM alone optimises nothing, and gets a program in one piece.
_flags = {"--xla_backend_optimization_level": "0", "--xla_cpu_parallel_codegen_split_count": "1"}
# The older one of two code generators takes a third of the newer one's time. JAX 0.12 has none but
# the newer, and a flag that XLA does not know ends the process.
if importlib.metadata.version("jaxlib").startswith("0.10."):
    _flags["--xla_cpu_use_fusion_emitters"] = "false"
_given = os.environ.get("XLA_FLAGS", "")
_flags = [f"{name}={value}" for name, value in _flags.items() if name not in _given]
os.environ["XLA_FLAGS"] = " ".join([_given, *_flags]).strip()

from skdsam_jax import runtime  # noqa: E402

runtime.configure()

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402
from absl import flags  # noqa: E402

# Grain reads absl flags, which only `app.run` parses.
flags.FLAGS.mark_as_parsed()

# Examples are the same each time, and none is too slow.
hypothesis.settings.register_profile(
    "reproducible",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("reproducible")

TESTS = pathlib.Path(__file__).parent
# Files that take longest begin first, so that no process is left with one of them at the end.
LONGEST = (
    "training/test_kills.py",
    "methods/test_contract.py",
    "test_walks.py",
    "training/test_streaming_runs.py",
    "training/test_trace_tables.py",
    "extending/test_page.py",
    "models/test_training_step.py",
    "models/test_san.py",
    "training/test_runs.py",
    "evaluation/test_evaluate.py",
    "trained/test_loading.py",
    "training/test_initial_processes.py",
    "training/test_trace_sample.py",
    "training/test_checkpoint.py",
    "methods/test_peers.py",
    "golden/test_peer_losses.py",
    "data/test_resident.py",
    "benchmarks/test_methods_benchmark.py",
    "training/test_devices.py",
    "benchmarks/test_checks.py",
    "benchmarks/test_train_step.py",
    "models/test_dianet.py",
    "models/test_heads.py",
    "models/test_exits.py",
    "benchmarks/test_memory_growth.py",
)


def pytest_xdist_auto_num_workers(config):
    """One file runs in this process: starting others would take longer than most files."""
    paths = {pathlib.Path(argument.partition("::")[0]) for argument in config.args}
    return 0 if len(paths) == 1 and paths.pop().is_file() else None


def pytest_collection_modifyitems(items):
    """Sorts the longest files to the front; xdist hands out files in this order."""
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


# Linux lets a process map 65,530 pieces of memory by default, and ends the one that needs more.
# Every program that XLA compiled takes some; those of a whole test run would be too many.
MOST_MAPS = 15_000

# Looking for garbage in what a trace has made so far takes a sixth of its time.
gc.set_threshold(100_000, 50, 100)


@pytest.fixture(scope="module", autouse=True)
def _forget_programs():
    """Lets go of what was compiled, once it is much."""
    yield
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def key():
    """A fixed random key."""
    return jax.random.key(0)
