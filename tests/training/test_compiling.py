"""What is compiled before the first step is all that the first step needs."""

import contextlib

import jax
import numpy as np
import pytest
from PIL import Image

from skdsam_jax.data import load_dataset
from skdsam_jax.experiment.config import default_config, from_config_dict
from skdsam_jax.training.state import data_mesh
from skdsam_jax.training.trainer import Trainer


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    root = tmp_path_factory.mktemp("photographs")
    for split in ("train", "test"):
        for label, name in enumerate(("blue", "red")):
            (root / split / name).mkdir(parents=True)
            for number in range(4):
                pixels = np.full((8, 8, 3), 100 * label + number, np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    return root


@pytest.fixture
def build(photographs):
    """Makes trainers of a tiny network."""
    with contextlib.ExitStack() as stack:

        def build(pipeline, devices=1, **training):
            config = default_config("cross_entropy")
            config.model.name, config.model.width = "wrn10_1", 4
            config.data.image_size = 8
            config.training.batch_size = 4
            config.training.update(training)
            if pipeline == "streaming":
                config.data.name, config.data.data_dir = "folder", str(photographs)
                config.data.pipeline, config.data.workers = "streaming", 0
                config.data.crop = "resized"
            else:
                config.data.train_examples = 8
            experiment = from_config_dict(config)
            dataset = load_dataset(experiment.data, seed=0)
            return stack.enter_context(
                Trainer(experiment, dataset, data_mesh(jax.devices()[:devices]))
            )

        yield build


@pytest.fixture
def compiled():
    """The programs that are compiled, or loaded from the cache, while a test runs."""
    names = []

    def listen(event, duration, **facts):
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(facts.get("fun_name"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize(
    ("pipeline", "options"),
    [
        ("resident", {}),
        ("resident", {"devices": 2, "steps_per_dispatch": 2, "ema_decay": 0.9}),
        ("streaming", {"devices": 2}),
    ],
)
def test_no_large_program_is_left_to_compile(build, compiled, pipeline, options):
    trainer = build(pipeline, **options)
    count = trainer.steps_per_dispatch
    trainer.compile(count)
    assert {"jit(initial)", "jit(take_steps)"} <= set(compiled)
    compiled.clear()
    state, sums = trainer.initial()
    state, *_ = trainer.dispatch(state, sums, next(trainer.inputs(0)), count)
    assert int(state.step) == count
    # What remains is tiny and depends on the pipeline, such as cutting arrays for the devices.
    assert not {"jit(initial)", "jit(take_steps)", "jit(<lambda>)"} & set(compiled)


def test_an_error_of_a_thread_is_that_of_the_call(build, monkeypatch):
    trainer = build("resident")

    class Refusing:
        def compile(self):
            raise MemoryError("no room for the program")

    monkeypatch.setattr(trainer, "lower", lambda count: Refusing())
    with pytest.raises(MemoryError, match="no room for the program"):
        trainer.compile(1)
