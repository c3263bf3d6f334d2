"""Measurements, as commands: `python -m benchmarks.train_step`, and the others of this folder.

Nothing here is part of the library, and no test times anything. `docs/performance.md` says what
each command measures and what came out.
"""
