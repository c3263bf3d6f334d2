"""What a run writes down beside its arrays, and what is found out where none did."""

import json

import jax
import pytest

import skdsam_jax
from skdsam_jax import runtime
from skdsam_jax.data import DataOptions, load_dataset
from skdsam_jax.experiment.config import from_config_dict
from skdsam_jax.options import ConfigError
from skdsam_jax.trained import unrecorded
from skdsam_jax.trained.record import describe_network, read_record


def _replace_data(workdir, **fields):
    file = workdir / "config.json"
    config = json.loads(file.read_text())
    config["data"] |= fields
    file.write_text(json.dumps(config))


def test_the_record_is_plain(digits):
    record = json.loads((digits.workdir / "network.json").read_text())
    assert record["class_names"] == list("0123456789")
    assert record["image_shape"] == [16, 16, 3]
    assert record["preparation"] == {"side": 16, "share": 1.0, "reduced": False}
    assert record["xla_flags"] == digits.summary["xla_flags"] == runtime.xla_flags()
    assert record["version"] == skdsam_jax.__version__
    options = DataOptions()
    assert read_record(digits.workdir) == describe_network(load_dataset(options, 0), options)


def test_photographs_are_recorded(photographs):
    record = json.loads((photographs.workdir / "network.json").read_text())
    assert record["class_names"] == ["blue", "red"]
    assert record["preparation"] == {"side": 16, "share": 0.875, "reduced": True}


@pytest.mark.slow
def test_a_run_of_an_older_version_is_recorded_when_it_goes_on(old_workdir):
    assert read_record(old_workdir) is None
    config = json.loads((old_workdir / "config.json").read_text())
    looked_up = skdsam_jax.load(old_workdir).record
    skdsam_jax.train(config, old_workdir, devices=jax.devices()[:1], verbose=False)
    assert read_record(old_workdir) == looked_up
    resumed = json.loads((old_workdir / "config.json").read_text())
    assert resumed["model"]["convolution"] == "direct"


def test_data_of_other_classes_is_refused(workdir):
    record = json.loads((workdir / "network.json").read_text())
    record["class_names"][0] = "zero"
    (workdir / "network.json").write_text(json.dumps(record))
    experiment = from_config_dict(json.loads((workdir / "config.json").read_text()))
    with pytest.raises(ConfigError, match="another class_names than in its network"):
        skdsam_jax.train(experiment, workdir, verbose=False)


@pytest.mark.parametrize(
    ("fields", "side", "share"),
    [
        ({"name": "cifar10"}, 32, 1.0),
        ({"name": "tiny_imagenet"}, 64, 1.0),
        ({"name": "folder", "image_size": 24}, 24, 1.0),
        ({"name": "mit_indoor67", "pipeline": "streaming", "crop": "resized"}, 224, 0.875),
    ],
)
def test_an_older_run_without_its_data_has_numbered_classes(
    old_workdir, tmp_path, caplog, fields, side, share
):
    _replace_data(old_workdir, data_dir=str(tmp_path / "gone"), **fields)
    trained = skdsam_jax.load(old_workdir)
    assert trained.class_names == tuple("0123456789")
    assert trained.image_shape == (side, side, 3)
    assert trained.record.preparation.share == share
    (record,) = (record for record in caplog.records if record.name == unrecorded.__name__)
    assert "numbered from 0 to 9" in record.getMessage()


def test_an_older_run_takes_the_names_of_its_folder(old_workdir, tmp_path, caplog):
    names = tuple(f"class {letter}" for letter in "abcdefghij")
    for split in ("train", "test"):
        for name in names:
            (tmp_path / "data" / split / name).mkdir(parents=True)
    _replace_data(old_workdir, name="folder", data_dir=str(tmp_path / "data"), image_size=16)
    assert skdsam_jax.load(old_workdir).class_names == names
    assert not [record for record in caplog.records if record.name == unrecorded.__name__]
