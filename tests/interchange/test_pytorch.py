"""PyTorch's networks of torchvision's names give the logits of ours, from our files and back."""

import pytest
from untrained_networks import fabricate, pictures

import skdsam_jax

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the extra benchmark)")

from benchmarks.interchange import distances, randomized  # noqa: E402
from benchmarks.torchvision_networks import DenseNet, ResNet  # noqa: E402


@pytest.mark.parametrize(
    ("backbone", "options", "make"),
    [
        ("tiny_resnet", {"stem": "imagenet"}, lambda: ResNet((1, 1, 2), 5, width=4)),
        ("tiny_resnet", {"stem": "small"}, lambda: ResNet((1, 1, 2), 5, width=4, stem="small")),
        (
            "tiny_bottlenecks",
            {"stem": "imagenet"},
            lambda: ResNet((1, 2), 5, width=4, bottleneck=True),
        ),
        (
            "tiny_resnext",
            {"stem": "imagenet", "width": 16},
            lambda: ResNet((1, 1), 5, width=16, bottleneck=True, groups=32, group_width=4),
        ),
        ("tiny_densenet", {"stem": "imagenet"}, lambda: DenseNet((1, 2, 1), 5, width=4)),
    ],
)
def test_there_and_back(backbone, options, make):
    torch.manual_seed(0)
    trained = fabricate(backbone, size=32, **options)
    found = distances(trained, randomized(make(), 0), pictures(trained, 3))
    assert found["to_pytorch"] < 1e-4
    assert found["from_pytorch"] < 1e-4


def test_a_trained_run_answers_in_pytorch(run):
    trained = skdsam_jax.load(run.workdir)
    network = randomized(ResNet((1, 1, 2), 10, width=4), 0)
    found = distances(trained, network, pictures(trained, 3))
    assert max(found.values()) < 1e-4
