"""A finished run teaches: what it sees, what of it is kept, and what is refused."""

import dataclasses
import gc
import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from toy_problem import BATCH, CLASSES, SIZE, TINY, make_dataset, make_experiment, teacher

import skdsam_jax
from skdsam_jax import losses
from skdsam_jax.batch import Batch
from skdsam_jax.experiment.config import decisive_fields, to_dict
from skdsam_jax.methods import ImageSet, create_method
from skdsam_jax.methods.knowledge_distillation import KnowledgeDistillation
from skdsam_jax.models import create_backbone
from skdsam_jax.options import ConfigError
from skdsam_jax.training import train
from skdsam_jax.training.state import data_mesh
from skdsam_jax.training.trainer import Trainer

NAMES = make_dataset().class_names


def _images(**changes):
    own = ImageSet("toy", NAMES, (SIZE, SIZE, 3), (0.5,) * 3, (0.25,) * 3)
    return own._replace(**changes)


def _options(workdir=None, **changes):
    return KnowledgeDistillation.Options(teacher=workdir or teacher(), **changes)


@pytest.mark.slow
def test_the_teacher_sees_the_same_pixels_under_its_own_look():
    options = _options(weight=2.0, temperature=3.0)
    rngs = nnx.Rngs(0)
    method = create_method(options, create_backbone(TINY, width=4, rngs=rngs), CLASSES, rngs=rngs)
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (BATCH, SIZE, SIZE, 3), np.uint8)
    labels = jnp.asarray(generator.integers(0, CLASSES, BATCH), jnp.int32)
    # A student with another look than the teacher, which was trained with 0.5 and 0.25.
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    frozen = KnowledgeDistillation.frozen(options, _images(mean=mean, std=std))
    normalized = jnp.asarray((pixels / 255 - mean) / std, jnp.float32)
    batch = Batch(normalized, labels, jnp.arange(BATCH, dtype=jnp.int32))
    scalar, (terms, outputs) = method.loss(batch, {}, frozen)

    expected = skdsam_jax.load(options.teacher).logits(pixels)
    by_hand, _ = losses.knowledge_distillation_loss(
        outputs.logits[-1], expected, labels, weight=2.0, temperature=3.0
    )
    np.testing.assert_allclose(scalar, by_hand, rtol=1e-4)
    assert terms["kl"].shape == (BATCH,)


def test_a_teacher_is_neither_counted_nor_trained_nor_checkpointed(tmp_path):
    mesh = data_mesh(jax.devices()[:1])
    student = Trainer(make_experiment("knowledge_distillation", epochs=1), make_dataset(), mesh)
    plain = Trainer(make_experiment("cross_entropy", epochs=1), make_dataset(), mesh)
    assert student.parameter_count == plain.parameter_count
    assert jax.tree.structure(student.abstract[0]) == jax.tree.structure(plain.abstract[0])
    inputs = next(student.inputs(0))
    before = jax.device_get(inputs.frozen)
    student.dispatch(*student.initial(), inputs, 1)
    jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(inputs.frozen))


@pytest.mark.slow
def test_a_run_keeps_to_its_teacher_wherever_that_lies(tmp_path):
    experiment = make_experiment("knowledge_distillation", epochs=2)
    settings = {"devices": jax.devices()[:1], "verbose": False}
    workdir = tmp_path / "student"
    train(experiment, workdir, stop_after_epochs=1, **settings)
    written = json.loads((workdir / "config.json").read_text())["method"]
    assert written["teacher_sha256"] == skdsam_jax.load(teacher()).params_digest

    moved = shutil.copytree(teacher(), tmp_path / "moved")
    options = dataclasses.replace(experiment.method, teacher=str(moved))
    summary = train(dataclasses.replace(experiment, method=options), workdir, **settings)
    assert summary["finished"]

    # Another network at the old place is another teacher.
    other = make_experiment("cross_entropy", epochs=1)
    train(dataclasses.replace(other, seed=5), tmp_path / "other", **settings)
    options = dataclasses.replace(experiment.method, teacher=str(tmp_path / "other"))
    with pytest.raises(ConfigError, match=r"another config: config\.method\.teacher_sha256"):
        train(dataclasses.replace(experiment, method=options), workdir, **settings)


def test_the_path_decides_nothing():
    fields = decisive_fields(to_dict(make_experiment("knowledge_distillation", epochs=1)))
    assert "method.teacher" not in fields
    assert "method.teacher_sha256" in fields


def test_a_teacher_must_be_the_one_that_was_asked_for():
    with pytest.raises(ConfigError, match=r"^config\.method\.teacher: .* holds .*, not 0000"):
        KnowledgeDistillation.resolve(_options(teacher_sha256=64 * "0"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("a", "b", "c", "d")}, "knows other classes, 4 from colour 0 to colour 3"),
        ({"class_names": NAMES[::-1]}, "knows other classes"),
        ({"class_names": NAMES[:3]}, "than toy, 3 from colour 0 to colour 2"),
        ({"shape": (32, 32, 3)}, rf"takes images \[{SIZE}, {SIZE}, 3\], not \[32, 32, 3\]"),
    ],
)
def test_a_teacher_of_other_classes_or_images_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        KnowledgeDistillation.frozen(_options(), _images(**changes))


def test_a_teacher_without_names_is_believed_on_its_own_set(tmp_path):
    """Runs of version 0.1.0 left none."""
    unnamed = pathlib.Path(shutil.copytree(teacher(), tmp_path / "unnamed"))
    record = json.loads((unnamed / "network.json").read_text())
    record["class_names"] = [str(label) for label in range(CLASSES)]
    (unnamed / "network.json").write_text(json.dumps(record))
    assert KnowledgeDistillation.frozen(_options(str(unnamed)), _images())
    with pytest.raises(ConfigError, match="knows other classes"):
        KnowledgeDistillation.frozen(_options(str(unnamed)), _images(name="another"))


# Of a damaged file Orbax abandons its other reads, which complain when they are collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_teacher_is_refused_in_one_line(tmp_path):
    damaged = pathlib.Path(shutil.copytree(teacher(), tmp_path / "damaged"))
    for checkpoint in (damaged / "checkpoints").glob("[0-9]*"):
        for file in (checkpoint / "state").glob("**/d/*"):
            file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ConfigError, match=r"^config\.method\.teacher: .*damaged") as error:
        KnowledgeDistillation.resolve(_options(str(damaged)))
    assert "\n" not in str(error.value)
    # They are collected here, and not in a test that knows nothing of them.
    del error
    gc.collect()
