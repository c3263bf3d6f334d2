"""Trains a classifier: what `train.py` and `skdsam train` do."""

import pathlib
from collections.abc import Sequence

from absl import flags

from skdsam_jax.commands import command_line
from skdsam_jax.options import ConfigError

_USAGE = """\
usage: skdsam train --config NAME[:CELL] --workdir DIR [--stop_after_epochs N]
                    [--config.FIELD=VALUE ...]

  --config             the experiment: a config file, by path or by one of the names below; behind
                       a colon, separated by commas, method=, backbone=, recipe=, augment=
  --workdir            the run's folder; a run found there goes on. It fills with checkpoints,
                       metrics.jsonl, summary.json and events: tensorboard --logdir DIR
  --stop_after_epochs  end early, when this many epochs of the run are finished

  --distributed        one of several processes, found out by JAX: SLURM, TPU pods and others
  --coordinator_address, --num_processes, --process_id
                       the same where JAX cannot know: host:port of the first process, how
                       many there are, and which this is
"""


def main(arguments: Sequence[str]) -> int:
    """Trains what the flags say.

    Args:
      arguments: the flags.

    Returns:
      The exit code; `train.py` lists them.
    """
    argv = ["train", *arguments]
    values = command_line.define_config_flag(argv)
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    flags.DEFINE_integer("stop_after_epochs", None, "", lower_bound=1, flag_values=values)
    flags.DEFINE_bool("distributed", False, "", flag_values=values)
    flags.DEFINE_string("coordinator_address", None, "", flag_values=values)
    flags.DEFINE_integer("num_processes", None, "", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("process_id", None, "", lower_bound=0, flag_values=values)
    if command_line.print_help(argv, _USAGE):
        return 0
    return command_line.run(lambda: _train(argv, values))


def _train(argv: Sequence[str], values: flags.FlagValues) -> None:
    from skdsam_jax.experiment.config import from_config_dict
    from skdsam_jax.training import Interruption, train
    from skdsam_jax.training.messages import describe_result
    from skdsam_jax.training.processes import is_first_process

    command_line.parse(argv, values, {"config": "configs/digits.py", "workdir": "runs/digits"})
    _join_processes(values)
    summary = train(
        from_config_dict(values["config"].value),
        values["workdir"].value,
        stop_after_epochs=values["stop_after_epochs"].value,
        interruption=Interruption(end_process=True),
    )
    if is_first_process():
        print(describe_result(summary, pathlib.Path(values["workdir"].value)))


def _join_processes(values: flags.FlagValues) -> None:
    """Makes this process one of several that train together, if the flags say so."""
    import jax

    names = ("coordinator_address", "num_processes", "process_id")
    explicit = {name: values[name].value for name in names}
    missing = [f"--{name}" for name in names if explicit[name] is None]
    if len(missing) == len(names):
        if values["distributed"].value:
            try:
                jax.distributed.initialize()
            except (RuntimeError, ValueError) as error:
                raise ConfigError(f"--distributed: {error}") from None
        return
    if missing:
        raise ConfigError(f"{missing[0]} is missing; it goes with the flags of the other processes")
    if explicit["process_id"] >= explicit["num_processes"]:
        raise ConfigError(
            f"--process_id: takes less than the {explicit['num_processes']} processes, "
            f"not {explicit['process_id']}"
        )
    jax.distributed.initialize(**explicit)
