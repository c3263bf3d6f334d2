"""The files of `configs/`, loaded as `--config` loads them."""

import importlib.util
import pathlib
import types

from skdsam_jax.experiment.config import Experiment, from_config_dict
from skdsam_jax.experiment.tables import Cell

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = {path.stem: path for path in sorted((ROOT / "configs").glob("*.py"))}


def load(name: str) -> types.ModuleType:
    """The file called `name`, without its ending."""
    spec = importlib.util.spec_from_file_location(name, CONFIGS[name])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def experiment(name: str, argument: str = "") -> Experiment:
    """What a file describes, with what stands behind its colon."""
    return from_config_dict(load(name).get_config(argument))


def experiment_of(cell: Cell) -> Experiment:
    """What a cell of a table runs."""
    path, _, argument = cell.config.partition(":")
    config = load(pathlib.Path(path).stem).get_config(argument)
    config.update_from_flattened_dict(dict(cell.changes))
    return from_config_dict(config)
