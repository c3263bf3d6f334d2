"""Pictures of a table's runs: what they are called, and that nothing is cut off."""

import copy

import numpy as np
import pytest
from matplotlib.figure import Figure

from skdsam_jax.report import drawing, run_pictures
from skdsam_jax.report.runs import find_runs, group

COUNTED = {"steps": 30, "images_per_step": 128}


def _lines(offset):
    return [
        {
            "epoch": epoch,
            "train": {"loss": 4.0 - epoch, "accuracy": [0.1, 0.2]},
            "test": {"exit_accuracies": [0.1 * epoch + offset, 0.2 * epoch + offset]},
        }
        for epoch in range(3)
    ]


def _changed(summary, section, **fields):
    """The config of a run, fields of one section changed."""
    config = copy.deepcopy(summary["config"])
    config[section] |= fields
    return config


@pytest.fixture
def drawn(monkeypatch):
    """Of each picture what fills it, and its height; none is drawn."""
    pictures = []
    monkeypatch.setattr(
        run_pictures, "render", lambda title, fill, height: pictures.append((fill, height))
    )
    return pictures


def test_accuracies_are_drawn_over_the_images_that_runs_say_they_read(write, drawn):
    """Of two experiments that counted theirs; one that read two for each of a batch has twice."""
    write("ours", 0, _lines(0.0), **COUNTED)
    write("uncounted", 0, _lines(0.0), model="resnet34")
    folder = write("alone", 0, method="cross_entropy", **COUNTED)
    experiments = group(find_runs(folder))
    assert run_pictures.draw_images_read(experiments, "name") is None
    write("theirs", 0, _lines(0.1), method="byot", steps=30, images_per_step=256)
    run_pictures.draw_images_read(group(find_runs(folder)), "name")
    figure = Figure()
    drawn[0][0](figure)
    (axes,) = figure.axes
    lines = {line.get_label().split(",")[0]: line.get_xydata() for line in axes.get_lines()}
    images = np.array([1, 2, 3]) * 30 * 128 / 250 / 1e3
    np.testing.assert_allclose(lines["skdsam"], np.stack([images, [0, 20, 40]], 1), atol=1e-9)
    np.testing.assert_allclose(lines["byot"], np.stack([2 * images, [10, 30, 50]], 1))
    assert len(lines) == 2


def test_labels_tell_experiments_apart_and_say_no_more(write, summary):
    for seed in range(2):
        write(f"plain-{seed}", seed)
    write("longer", 0, config=_changed(summary, "training", epochs=300))
    write("cut", 0, config=_changed(summary, "data", cutout="mean"))
    write("other", 0, config=_changed(summary, "method", warm_up=0.5))
    folder = write("theirs", 0, method="cross_entropy")
    assert sorted(run_pictures.labels_of(group(find_runs(folder)))) == [
        "cross_entropy",
        "skdsam (warm_up=0.5)",
        "skdsam + cutout",
        "skdsam, 250 epochs of batch 128",
        "skdsam, 300 epochs of batch 128",
    ]
    write("narrow", 0, config=_changed(summary, "model", width=8))
    labels = run_pictures.labels_of(group(find_runs(folder)))
    assert "skdsam, resnet18 (width=8)" in labels
    assert "cross_entropy, resnet18" in labels


def test_many_lines_with_long_names_stand_in_several_panels(write, summary, drawn):
    for number in range(30):
        options = {"label_weight": 1.0, "attention_gradient": "none", "warm_up": 0.01 * number}
        config = _changed(summary, "method", **options)
        write(f"{number}", 0, _lines(0.01 * number), config=config, **COUNTED)
    folder = write("last", 0, _lines(0.5), method="byot", **COUNTED)
    run_pictures.draw_images_read(group(find_runs(folder)), "name")
    ((fill, height),) = drawn
    figure = Figure((drawing.WIDTH, height), layout="constrained")
    fill(figure)
    figure.draw_without_rendering()
    assert len(figure.axes) == 5
    own = []
    bottom = figure.bbox.y1
    for axes in figure.axes:
        legend, place = axes.get_legend(), axes.get_window_extent()
        box = legend.get_window_extent()
        # Beside the lines, beneath the last panel's, and all of it in the picture.
        assert place.x1 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= bottom
        bottom = box.y0
        assert place.width > figure.bbox.width / 4
        names = [text.get_text() for text in legend.get_texts()]
        assert len(names) in (6, 7)
        lines = {line.get_label(): line for line in axes.get_lines()}
        assert len(axes.get_lines()) == 31 + len(names)
        own += [lines[name] for name in names]
        assert len({line.get_color() for line in own[-len(names) :]}) == len(names)
    assert bottom >= figure.bbox.y0
    assert len(own) == 31
    # As the lines end, from the top.
    ends = [line.get_ydata()[-1] for line in own]
    assert ends == sorted(ends, reverse=True)
    assert own[0].get_label() == "byot"
