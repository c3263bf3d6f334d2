"""Runs that start from a run or a file: what they begin with, and what they keep to."""

import dataclasses
import json
import re
import shutil
import sys
import types

import jax
import numpy as np
import pytest
import safetensors.numpy
from tiny_runs import make_config
from untrained_networks import fabricate, pytorch_arrays

import skdsam_jax
from skdsam_jax.data import load_dataset
from skdsam_jax.experiment.config import decisive_fields, from_config_dict, to_dict
from skdsam_jax.interchange import export
from skdsam_jax.interchange.initial import read, resolve
from skdsam_jax.models import ModelOptions
from skdsam_jax.options import ConfigError
from skdsam_jax.training.state import data_mesh
from skdsam_jax.training.trainer import Trainer


@pytest.fixture
def file(tmp_path):
    """As PyTorch's libraries write it, without metadata."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors.numpy.save(pytorch_arrays()))
    return path


def _trainer(initial, **fields):
    experiment = from_config_dict(make_config(**{"model.initial": str(initial)} | fields))
    experiment = dataclasses.replace(experiment, model=resolve(experiment.model, {}))
    dataset = load_dataset(experiment.data, experiment.seed)
    trainer = Trainer(experiment, dataset, data_mesh(jax.devices()[:1]))
    trainer.start_from(read(experiment.model))
    return trainer


def _equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_network_starts_where_a_run_stopped(run):
    state, _ = _trainer(run.workdir, **{"model.stem": "imagenet"}).initial()
    before = skdsam_jax.load(run.workdir)
    _equal(state.params["classifier"], before.params["classifier"])
    _equal(state.model_state["classifier"], before.model_state["classifier"])
    assert int(state.step) == 0


@pytest.mark.slow
def test_exits_start_as_they_always_do(run):
    """Whatever else starts: the stem has another shape here."""
    fields = {"method.name": "skdsam", "model.stem": "small"}
    trainer = _trainer(run.workdir, **fields)
    state, _ = trainer.initial()
    fresh, _ = Trainer(trainer.experiment, trainer.dataset, trainer.mesh).initial()
    before = skdsam_jax.load(run.workdir)
    for tree, other, anew in (
        (state.params, before.params, fresh.params),
        (state.model_state, before.model_state, fresh.model_state),
    ):
        _equal(tree["exits"], anew["exits"])
        backbone, others = tree["classifier"]["backbone"], other["classifier"]["backbone"]
        _equal(backbone["stages"], others["stages"])
        _equal(backbone["stem"], anew["classifier"]["backbone"]["stem"])
    anew = trainer.start.record["anew"]
    assert set(anew) == {"stem", "exits", "projections"}


def test_a_file_gives_what_its_names_say(file):
    state, _ = _trainer(file, **{"model.stem": "imagenet"}).initial()
    arrays = pytorch_arrays()
    classifier = state.params["classifier"]
    np.testing.assert_array_equal(classifier["dense"]["kernel"], arrays["fc.weight"].T)
    np.testing.assert_array_equal(
        state.model_state["classifier"]["backbone"]["stem"]["norm"]["var"],
        arrays["bn1.running_var"],
    )


def test_under_x64_a_file_starts_a_network_of_float64(file):
    with jax.enable_x64(True):
        state, _ = _trainer(file, **{"model.stem": "imagenet"}).initial()
        bias = state.params["classifier"]["dense"]["bias"]
        assert bias.dtype == np.float64
        np.testing.assert_array_equal(bias, pytorch_arrays()["fc.bias"])


@pytest.mark.parametrize("backbone", ["tiny_densenet", "wrn10_1"])
def test_what_was_exported_is_read_back(backbone, tmp_path):
    """Under the names of others or, of a wide residual network, under ours."""
    trained = fabricate(backbone)
    (path,) = export(trained, "safetensors", tmp_path / "network.safetensors")
    options = resolve(ModelOptions(backbone, initial=str(path)), {})
    source = read(options)
    assert source.class_names == trained.class_names
    assert source.naming.rules is None or backbone == "tiny_densenet"
    assert len(source.arrays) == len(jax.tree.leaves((trained.params, trained.model_state)))


@pytest.mark.slow
def test_a_run_says_records_and_keeps_to_what_it_started_from(file, tmp_path, capsys):
    workdir = tmp_path / "run"
    fields = {
        "model.stem": "imagenet",
        "model.initial": str(file),
        "training.epochs": 2,
    }
    config = make_config(**fields)
    settings = {"devices": jax.devices()[:1]}
    first = skdsam_jax.train(config, workdir, stop_after_epochs=1, **settings)
    said = capsys.readouterr().out
    assert f"starts from {file} (SHA-256 " in said
    assert "57 arrays taken; anew: nothing" in said
    recorded = json.loads((workdir / "config.json").read_text())["model"]["initial_sha256"]
    assert len(recorded) == 64
    assert first["initial"] == {
        "source": str(file),
        "sha256": recorded,
        "taken": 57,
        "anew": {},
    }

    # Another file at its place is refused, before anything is trained.
    content = file.read_bytes()
    file.write_bytes(safetensors.numpy.save(pytorch_arrays(seed=3)))
    with pytest.raises(ConfigError, match=r"another config: config\.model\.initial_sha256: "):
        skdsam_jax.train(config, workdir, verbose=False, **settings)

    # The same elsewhere is the same; so is none, for the run does not need it any more.
    file.write_bytes(content)
    moved = shutil.move(file, tmp_path / "moved.safetensors")
    elsewhere = make_config(**fields | {"model.initial": str(moved)})
    skdsam_jax.train(elsewhere, workdir, stop_after_epochs=1, verbose=False, **settings)
    moved.unlink()
    summary = skdsam_jax.train(elsewhere, workdir, **settings)
    assert summary["finished"]
    assert summary["initial"] == first["initial"]
    assert "starts from" not in capsys.readouterr().out


def test_the_path_decides_nothing_and_the_digest_does():
    fields = decisive_fields(to_dict(from_config_dict({"model": {"initial": "somewhere"}})))
    assert "model.initial" not in fields
    assert "model.initial_sha256" in fields


def test_a_run_that_began_does_without_what_is_gone_but_not_with_another_name():
    begun = {"initial": "timm/gone", "initial_sha256": 64 * "c"}
    options = ModelOptions(initial="timm/gone")
    assert resolve(options, begun).initial_sha256 == 64 * "c"
    with pytest.raises(ConfigError, match=r"^config\.model\.initial: nothing\.here is neither"):
        resolve(ModelOptions(initial="nothing.here"), begun)


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0no json."])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    options = resolve(ModelOptions("resnet18", initial=str(path)), {})
    message = rf"^config\.model\.initial: {path} cannot be read as a safetensors file \("
    with pytest.raises(ConfigError, match=message):
        read(options)


def test_mistakes_are_named(file, tmp_path):
    options = resolve(ModelOptions("wrn10_1", initial=str(file)), {})
    with pytest.raises(ConfigError, match=r"names its layers as other libraries.* no wrn10_1; "):
        read(options)
    with pytest.raises(ConfigError, match=r"config\.model\.initial_sha256: takes None where"):
        resolve(ModelOptions(initial_sha256=64 * "0"), {})
    with pytest.raises(ConfigError, match=r"holds .*, not 0000.* of config\.model\.initial_sha256"):
        resolve(ModelOptions(initial=str(file), initial_sha256=64 * "0"), {})
    with pytest.raises(ConfigError, match=r"^config\.model\.initial: workdir .* no config\.json"):
        resolve(ModelOptions(initial=str(tmp_path)), {})
    # It changed after it was resolved.
    file.write_bytes(safetensors.numpy.save(pytorch_arrays(seed=3)))
    with pytest.raises(ConfigError, match=r"of config\.model\.initial_sha256"):
        read(dataclasses.replace(options, name="tiny_resnet"))


@pytest.fixture
def hub(file, monkeypatch):
    """A stand-in for the package; nothing is downloaded."""
    asked = []

    def download(repository, name):
        asked.append((repository, name))
        if repository != "timm/tiny":
            raise OSError("404 Client Error\nmany more lines")
        return str(file)

    module = types.SimpleNamespace(hf_hub_download=download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return asked


def test_a_name_is_fetched_from_the_hub(hub, file):
    options = resolve(ModelOptions("tiny_resnet", initial="timm/tiny"), {})
    by_file = resolve(ModelOptions("tiny_resnet", initial=str(file)), {})
    assert options.initial_sha256 == by_file.initial_sha256
    assert read(options).place == "timm/tiny"
    assert set(hub) == {("timm/tiny", "model.safetensors")}


def test_what_the_hub_does_not_have_is_said_in_one_line(hub):
    with pytest.raises(ConfigError, match=r"the hub did not give model\.safetensors") as error:
        resolve(ModelOptions(initial="timm/other"), {})
    assert str(error.value).endswith("(404 Client Error)")


def test_a_mistyped_path_is_not_looked_for_on_the_hub(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(ConfigError, match="runs/digit is neither a run's folder nor a file"):
        resolve(ModelOptions(initial="runs/digit"), {})
    assert not hub


def test_without_the_package_a_name_says_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match=r"needs the package huggingface_hub: pip .*\[hub\]"):
        resolve(ModelOptions(initial="timm/resnet18.a1_in1k"), {})


def test_a_run_from_a_run_is_named_in_a_page_of_results(run):
    from skdsam_jax.experiment.run_description import describe

    started = run.summary | {"config": json.loads(json.dumps(run.summary["config"]))}
    started["config"]["model"]["initial_sha256"] = run.summary["params_digest"]
    words = describe(started, {run.summary["params_digest"]: run.summary})
    assert "initial=cross_entropy, else alike" in words.network
    started["config"]["training"]["epochs"] += 1
    words = describe(started, {run.summary["params_digest"]: run.summary})
    was = f"{run.summary['epochs']} epochs of batch"
    assert re.search(rf"initial=cross_entropy, .*{was} .*, else alike", words.network)
    assert f"initial={run.summary['params_digest'][:12]}..." in describe(started).network
