"""What commands say besides their results."""

import subprocess
import sys

import pytest

CODE = """
import logging
from skdsam_jax.commands import command_line
command_line.run(lambda: logging.getLogger("skdsam_jax.data").warning("only a part of it"))
"""


@pytest.mark.parametrize("before", ["", "import skdsam_jax.commands.preview"])
def test_a_warning_is_its_text(before):
    result = subprocess.run([sys.executable, "-c", before + CODE], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "only a part of it\n"
