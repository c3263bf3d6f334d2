"""What commands say besides their results."""

import subprocess
import sys

CODE = """
import logging
from skdsam_jax import command_line
command_line.run(lambda: logging.getLogger("skdsam_jax.data").warning("only a part of it"))
"""


def test_a_warning_is_its_text():
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "only a part of it\n"
