"""`skdsam export`: what it writes of a real run, and what it refuses."""

import dataclasses
import importlib
import json
import pathlib
import re
import shutil
import sys

import jax
import numpy as np
import onnxruntime
import pytest
import safetensors
from untrained_networks import fabricate

import skdsam_jax
from skdsam_jax.commands.export import main
from skdsam_jax.data import DataOptions, load_dataset
from skdsam_jax.interchange import export
from skdsam_jax.options import ConfigError


@pytest.fixture(scope="module")
def images():
    return load_dataset(DataOptions(), 0).test.images[:5]


def _export(run, tmp_path, kind, *flags):
    file = tmp_path / f"written.{kind}"
    assert main([str(run.workdir), "--format", kind, "--out", str(file), *flags]) == 0
    return file


def test_every_format_holds_the_network_of_the_run(run, tmp_path, images, capsys):
    expected = np.asarray(skdsam_jax.load(run.workdir).logits(images))
    file = _export(run, tmp_path, "onnx")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images})
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)

    file = _export(run, tmp_path, "stablehlo")
    program = jax.export.deserialize(bytearray(file.read_bytes()))
    np.testing.assert_allclose(program.call(images), expected, rtol=1e-4, atol=1e-5)
    beside = json.loads(file.with_name(f"{file.name}.json").read_text())
    assert beside["class_names"] == [str(digit) for digit in range(10)]
    assert capsys.readouterr().out.count("bytes\n") == 3

    file = _export(run, tmp_path, "safetensors")
    with safetensors.safe_open(file, "numpy") as tensors:
        assert tensors.metadata()["names"] == "torchvision"
        assert tensors.metadata()["layout"] == "OIHW"
        assert json.loads(tensors.metadata()["preparation"])["side"] == 16
        kernel = tensors.get_tensor("layer2.0.downsample.0.weight")
    trained = skdsam_jax.load(run.workdir).params["classifier"]["backbone"]["stages"]["1"]["0"]
    np.testing.assert_array_equal(
        kernel, np.moveaxis(trained["shortcut"]["conv"]["kernel"], (3, 2), (0, 1))
    )


def test_which_checkpoint_and_where_to(run, tmp_path):
    workdir = shutil.copytree(run.workdir, tmp_path / "copy")
    assert main([str(workdir), "--format", "onnx", "--which", "1"]) == 0
    session = onnxruntime.InferenceSession(workdir / "network.onnx")
    assert session.get_modelmeta().custom_metadata_map["step"] == "1"
    # Nothing is left of what a file was written as.
    assert not list(workdir.glob(".network*"))


def test_the_page_reads_files_as_it_says(run, tmp_path, images, monkeypatch):
    page = (pathlib.Path(__file__).parents[2] / "docs" / "interchange.md").read_text()
    (block,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
        if "jax.export" in block
    )
    trained = skdsam_jax.load(run.workdir)
    monkeypatch.chdir(tmp_path)
    for kind in ("stablehlo", "onnx"):
        export(trained, kind, f"network.{kind}")
    variables = {"images": images}
    exec(compile(block, "docs/interchange.md", "exec"), variables)
    np.testing.assert_allclose(variables["logits"], trained.logits(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--which", "9"], "error: which: "),
        (["--out", "/nowhere/network.onnx"], "error: /nowhere/network.onnx: cannot be written"),
    ],
)
def test_mistakes_end_in_one_line(run, flags, message, capsys):
    assert main([str(run.workdir), "--format", "onnx", *flags]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(message)
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("kind", "package"), [("onnx", "onnx"), ("safetensors", "safetensors.numpy")]
)
def test_a_missing_package_is_named_with_what_installs_it(
    run, tmp_path, monkeypatch, kind, package
):
    monkeypatch.setitem(sys.modules, package, None)
    trained = skdsam_jax.load(run.workdir)
    with pytest.raises(ConfigError, match=rf"^--format {kind} needs the package .*\[export\]"):
        export(trained, kind, tmp_path / "file")


def test_arrays_of_float64_are_written_in_float32(tmp_path):
    trained = fabricate("tiny_bottlenecks")
    wide = jax.tree.map(np.float64, jax.device_get(trained.params))
    (file,) = export(dataclasses.replace(trained, params=wide), "safetensors", tmp_path / "file")
    arrays = importlib.import_module("safetensors.numpy").load_file(file)
    assert {array.dtype for array in arrays.values()} == {np.dtype("float32")}


def test_an_unknown_format_is_refused(run, tmp_path):
    with pytest.raises(ConfigError, match=r"^--format: unknown format 'onxx'; did you mean onnx\?"):
        export(skdsam_jax.load(run.workdir), "onxx", tmp_path / "file")
