"""Trains a classifier: `python train.py --config configs/digits.py --workdir runs/digits`.

The same command on the same workdir goes on where the run stopped. Any field of the config can be
set on the command line: `--config.training.epochs=100`.

Exit codes: 0 done, 2 something given cannot work, 3 the numbers stopped being finite, 75 stopped by
SIGTERM or Ctrl-C with everything saved, 130 ended at once by a second Ctrl-C, or by one before
training began.
"""

import sys

from skdsam_jax import allocator, runtime

if __name__ == "__main__":
    allocator.restart_with_tcmalloc()

runtime.configure()

from skdsam_jax.commands.train import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
