"""Flags for options of a method of one's own, which is known before a config file is read."""

import pytest

from skdsam_jax.commands import command_line
from skdsam_jax.commands.given_flags import own_method
from skdsam_jax.experiment.config import default_config
from skdsam_jax.options import ConfigError

pytestmark = pytest.mark.filterwarnings(  # ml_collections' loader
    "ignore:.*load_module.*:DeprecationWarning"
)


@pytest.mark.parametrize(
    ("flags", "method"),
    [
        (["--config=digits"], None),
        (["--config=digits:method=byot,backbone=plain:Plain"], None),
        (["--config=digits:backbone=plain:Plain,method=penalty:Confidence"], "penalty:Confidence"),
        (["--config", "digits:method=penalty:Confidence,recipe=lab"], "penalty:Confidence"),
        (["--config", "digits", "--config.method.name=penalty:Other"], "penalty:Other"),
        (["--config=digits:method=penalty:Confidence", "--config.method.name=byot"], None),
        (["--config=digits", "--config.data.name=method:load"], None),
    ],
)
def test_which_method_flags_name(flags, method):
    assert own_method(["train", *flags]) == method


def _parse(*flags):
    argv = ["train", "--config=digits", *flags]
    values = command_line.define_config_flag(argv)
    command_line.parse(argv, values, {})
    return values["config"].value


@pytest.mark.usefixtures("folder")
def test_options_are_flags_while_the_method_is_named():
    config = _parse("--config.method.name=penalty:ConfidencePenalty", "--config.method.penalty=0.2")
    assert (config.method.name, config.method.penalty) == ("penalty:ConfidencePenalty", 0.2)
    assert "penalty" not in default_config().method
    with pytest.raises(ConfigError, match=r"^config\.method\.penalty: unknown field"):
        _parse("--config.method.name=byot", "--config.method.penalty=0.2")
    with pytest.raises(ConfigError, match=r"^config\.method\.penality: .*did you mean penalty\?$"):
        _parse("--config.method.name=penalty:ConfidencePenalty", "--config.method.penality=0.2")
