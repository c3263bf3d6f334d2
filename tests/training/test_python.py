"""Training from Python, each case in a process of its own: as the command does it."""

import json
import os
import subprocess
import sys

from patience import HANGING

PROGRAM = """
import json, logging, sys
{before}
import skdsam_jax
light = {{"jax", "flax", "orbax"}} & set(sys.modules)
sys.path.insert(0, "tests")
import config_files
config = config_files.load("digits").get_config("")
config.update_from_flattened_dict(json.loads(sys.argv[2]))
for _ in range({times}):
    summary = skdsam_jax.train(config, sys.argv[1], verbose=False)
record = json.load(open(sys.argv[1] + "/network.json"))
print(json.dumps([summary, record["xla_flags"], sorted(light)]))
"""
FLAG = "--xla_cpu_experimental_ynn_fusion_type"


def _flags_of_the_tests():
    """XLA's flags that `conftest.py` or the user set, without the one that the library adds."""
    name = FLAG.partition("=")[0]
    return [flag for flag in os.environ.get("XLA_FLAGS", "").split() if not flag.startswith(name)]


def _run(workdir, pytestconfig, fields, before="", times=1):
    """Returns the summary, the recorded flags, what importing imported, and stderr."""
    environment = os.environ | {"XLA_FLAGS": " ".join(_flags_of_the_tests())}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            PROGRAM.format(before=before, times=times),
            str(workdir),
            json.dumps(fields),
        ],
        cwd=pytestconfig.rootpath,
        env=environment | {"JAX_NUM_CPU_DEVICES": "1"},
        capture_output=True,
        text=True,
        timeout=HANGING,
    )
    assert done.returncode == 0, done.stderr
    return *json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_python_and_command_give_the_same_numbers(undisturbed, tmp_path, pytestconfig):
    # As in `runs.SMALL`.
    fields = {
        "model.name": "wrn10_1",
        "model.width": 4,
        "data.train_examples": 64,
        "training.batch_size": 16,
        "training.epochs": 4,
    }
    summary, flags, imported, errors = _run(tmp_path / "run", pytestconfig, fields)
    assert summary["params_digest"] == undisturbed.summary["params_digest"]
    assert summary["xla_flags"] == flags == undisturbed.summary["xla_flags"]
    assert imported == []
    assert "JAX started" not in errors


def test_flags_that_are_missing_are_named_once(tmp_path, pytestconfig):
    before = "import jax; jax.devices()"
    fields = {
        "method.name": "cross_entropy",
        "model.name": "wrn10_1",
        "model.width": 4,
        "data.train_examples": 16,
        "training.batch_size": 16,
        "training.epochs": 1,
    }
    summary, flags, _, errors = _run(tmp_path / "run", pytestconfig, fields, before, times=2)
    assert summary["xla_flags"] == flags == _flags_of_the_tests()
    assert errors.count(f"JAX started without {FLAG}") == 1, errors
