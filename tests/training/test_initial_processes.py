"""Several processes that start from one run: each reads it for itself."""

import pytest
from runs import Run, start_two


@pytest.mark.slow
def test_two_processes_start_from_a_run(run, undisturbed, tmp_path):
    flags = [
        f"--config.model.initial={undisturbed.workdir}",
        "--config.method.name=cross_entropy",
        "--config.training.epochs=1",
    ]
    for process in start_two(run, *flags):
        run.wait_for(process)
    alone = Run(tmp_path / "alone")
    alone.finish(*flags, JAX_ENABLE_X64="1")
    assert run.summary["hardware"]["processes"] == 2
    assert run.summary["initial"] == alone.summary["initial"]
    assert run.summary["initial"]["sha256"] == undisturbed.summary["params_digest"]
    assert run.metrics[-1]["parameter_norm"] == pytest.approx(
        alone.metrics[-1]["parameter_norm"], rel=1e-9
    )
