"""What is wrong with something of the user's own ends in one line that says all of it."""

import json
import sys

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import skdsam_jax
from skdsam_jax.data import DataOptions, load_dataset
from skdsam_jax.experiment.config import default_config, from_config_dict
from skdsam_jax.methods import METHODS, create_method, find_method
from skdsam_jax.models import create_backbone
from skdsam_jax.models.variables import Functional
from skdsam_jax.options import ConfigError
from skdsam_jax.references import find_reference

NETWORKS = """
import functools
from flax import nnx
from skdsam_jax.models import BasicBlock, ResNet

Tiny = functools.partial(ResNet, BasicBlock, (1, 1, 1))
number = 3

class Net(nnx.Module):
    def __init__(self, *, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), strides=2, rngs=rngs)

class OneStage(Net):
    def __call__(self, images, *, train):
        return [self.conv(images)]

class Equal(Net):
    def __call__(self, images, *, train):
        return [self.conv(images), self.conv(images)]

class Logits(Net):
    def __call__(self, images, *, train):
        return self.conv(images).mean((1, 2))

class Broken(Net):
    def __call__(self, images, *, train):
        return [self.conv(images[..., :2])]

class Said(Net):
    channels, reductions = (4, 8), (2, 4)
    def __call__(self, images, *, train):
        raise ValueError("must not be called")

def no_rngs(depth):
    return None

def no_module(rngs):
    return 3
"""

METHODS_FILE = """
import dataclasses
from skdsam_jax.methods import Method, MethodOptions

class Nothing(Method):
    class Options(MethodOptions):
        pass

@dataclasses.dataclass(frozen=True)
class Bare(MethodOptions):
    alpha: int = 1

class WrongType(Method):
    Options = Bare
    def objective(self, outputs, batch):
        return outputs.logits[-1].sum(), {}
"""

SETS = """
import numpy as np
from skdsam_jax.data import Dataset, Split

def list_of_images(options):
    return []

def arrays(options):
    split = Split(np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, np.int32))
    return Dataset("four", ("one",), (0.5,) * 3, (0.5,) * 3, split, None, split)
"""


@pytest.fixture(autouse=True)
def _modules(folder):
    (folder / "networks.py").write_text(NETWORKS)
    (folder / "methods_file.py").write_text(METHODS_FILE)
    (folder / "sets.py").write_text(SETS)
    (folder / "faulty.py").write_text("import json\nwidth = widht\n")
    (folder / "unparsed.py").write_text("def f(:\n")
    (folder / "needy.py").write_text("import there_is_no_such_package\n")


def _refusal(call, *arguments, **settings):
    with pytest.raises(ConfigError) as error:
        call(*arguments, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("network:Tiny", "there is no module 'network', neither in"),
        ("networks.deep:Tiny", "there is no module 'networks.deep', neither in"),
        ("networks:Tinny", "module 'networks' has no 'Tinny'; did you mean Tiny?"),
        ("networks:", "takes module:Name, not 'networks:'"),
        ("../networks:Tiny", "takes module:Name, not '../networks:Tiny'"),
        ("faulty:Net", "NameError: name 'widht' is not defined (faulty.py, line 2)"),
        ("unparsed:Net", "(unparsed.py, line 1)"),
        ("needy:Net", "No module named 'there_is_no_such_package' (needy.py, line 1)"),
    ],
)
@pytest.mark.parametrize("kind", ["model", "method", "data"])
def test_a_misspelt_or_broken_module(kind, name, reason):
    call = {
        "model": lambda: create_backbone(name, rngs=nnx.Rngs(0)),
        "method": lambda: find_method(name),
        "data": lambda: load_dataset(DataOptions(name=name), 0),
    }[kind]
    text = _refusal(call)
    assert text.startswith(f"config.{kind}.name: ")
    assert reason in text


def test_the_working_directory_is_looked_in_by_scripts_too(folder, monkeypatch):
    """Theirs is the folder of the script, which comes first."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(folder))])
    assert find_reference("networks:number", "here") == 3
    assert sys.path[-1] == str(folder)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("networks:number", {}, "config.model.name: takes a class or function, and"),
        (
            "networks:no_rngs",
            {},
            "takes no rngs, from which its layers are initialised; asks for depth, which need",
        ),
        ("networks:no_module", {}, "is no nnx.Module but int"),
        ("networks:OneStage", {}, "has 1 stage(s), and exits take two or more"),
        ("networks:Equal", {}, "has stages of 1/2, 1/2 of the image's side, and each must"),
        ("networks:Logits", {}, "not a list or tuple of feature maps [batch, height, width"),
        ("networks:Broken", {}, "failed on images [2, 64, 64, 3]: "),
        ("networks:Net", {}, "failed on images [2, 64, 64, 3]: "),
        ("networks:Said", {"width": 4}, "config.model.width: networks:Said takes none, so not 4"),
        ("networks:Said", {"stem": "imagenet"}, "config.model.stem: networks:Said takes none"),
        ("networks:Said", {"dtype": jnp.bfloat16}, "config.training.compute_dtype: takes float32"),
    ],
)
def test_what_is_no_backbone(name, settings, message):
    def build():
        nnx.eval_shape(lambda: create_backbone(name, **settings, rngs=nnx.Rngs(0)))

    assert message in _refusal(build)


def test_what_a_network_says_of_its_stages_is_believed():
    backbone = create_backbone("networks:Said", rngs=nnx.Rngs(0))
    assert (backbone.channels, backbone.reductions) == ((4, 8), (2, 4))
    assert (backbone.bottleneck_width, backbone.preactivation) == (2, False)


def _structure(method, backbone):
    """The method around a backbone, built without arrays."""

    def build(rngs):
        network = create_backbone(backbone, width=4, rngs=rngs)
        return create_method(METHODS[method].Options(), network, 5, rngs=rngs)

    return Functional(build).params


@pytest.mark.parametrize("method", [name for name in METHODS if name != "knowledge_distillation"])
def test_methods_that_copy_stages_refuse_a_network_that_cannot(method):
    if METHODS[method].copies_stages:
        assert _refusal(_structure, method, "plain:Plain") == (
            f"config.method.name: {method} copies stages of the backbone, and Plain has no branch "
            "and no depths"
        )
    else:
        assert _structure(method, "plain:Plain")["classifier"]


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].copies_stages])
def test_a_network_that_can_is_what_it_is_in_the_table(method):
    own, table = _structure(method, "networks:Tiny"), _structure(method, "resnet18")
    own["classifier"]["backbone"] = own["classifier"]["backbone"]["network"]
    assert set(own) == set(table)
    assert jax.tree.structure(own["classifier"]["dense"]) == jax.tree.structure(
        table["classifier"]["dense"]
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("networks:Tiny", "networks:Tiny takes to be derived from skdsam_jax.methods.Method"),
        (
            "methods_file:Nothing",
            "methods_file:Nothing has neither objective nor loss; has Options that are no dataclass"
            "(frozen=True)",
        ),
    ],
)
def test_what_is_no_method(name, message):
    assert _refusal(find_method, name) == f"config.method.name: {message}"


def test_options_of_ones_own():
    config = default_config("penalty:ConfidencePenalty")
    config.method.penalty = 0.3
    assert from_config_dict(config).method.penalty == 0.3
    config.method.penalty = -1.0
    assert _refusal(from_config_dict, config) == (
        "config.method.penalty: takes at least 0, not -1.0"
    )
    config.method.penalty, config.method.alpha = None, 0.5
    assert _refusal(from_config_dict, config) == (
        "config.method.alpha: no option of penalty:ConfidencePenalty, which takes penalty"
    )
    assert "penalty" not in default_config().method
    assert _refusal(default_config, "methods_file:WrongType") == (
        "config.method.alpha: int in method methods_file:WrongType, float in byot; one name has "
        "one type"
    )


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("sets:np", {}, "config.data.name: takes a function of DataOptions, and sets:np is"),
        ("sets:list_of_images", {}, "config.data.name: sets:list_of_images returns list, not a"),
        ("sets:arrays", {"image_size": 16}, "config.data.image_size: sets:arrays returns images"),
        (
            "sets:arrays",
            {"pipeline": "streaming", "crop": "resized"},
            "config.data.pipeline: takes resident with sets:arrays, which returns arrays",
        ),
    ],
)
def test_what_is_no_data_set(name, settings, message):
    assert _refusal(load_dataset, DataOptions(name=name, **settings), 0).startswith(message)


def test_a_run_whose_module_is_gone(folder):
    (folder / "run").mkdir()
    config = {"model": {"name": "gone:Net"}, "method": {}, "data": {}}
    (folder / "run" / "config.json").write_text(json.dumps(config))
    assert _refusal(skdsam_jax.load, "run").startswith(
        f"workdir {folder / 'run'}: config.model.name: there is no module 'gone'"
    )
