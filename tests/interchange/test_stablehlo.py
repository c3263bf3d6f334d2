"""StableHLO programs run without the library, on any platform and batch."""

import json

import jax
import numpy as np
import pytest
from untrained_networks import fabricate, pictures

from skdsam_jax.interchange.stablehlo_file import files, lower


@pytest.mark.parametrize(
    ("backbone", "options"),
    [("tiny_resnext", {"width": 16}), ("tiny_densenet", {"stem": "imagenet"})],
)
def test_logits_are_those_of_the_network(backbone, options):
    trained = fabricate(backbone, **options)
    images = pictures(trained, 3)
    program = jax.export.deserialize(bytearray(files(trained)[""]))
    expected = trained.logits(images)
    np.testing.assert_allclose(program.call(images), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(program.call(images[:1]), expected[:1], rtol=1e-4, atol=1e-5)


def test_it_is_lowered_for_every_platform_and_any_batch():
    program = lower(fabricate("tiny_resnext", width=16))
    assert program.platforms == ("cpu", "cuda", "tpu")
    (images,) = program.in_avals
    assert str(images) == "uint8[batch,16,16,3]"
    (logits,) = program.out_avals
    assert str(logits) == "float32[batch,5]"
    # On a GPU its convolutions keep their groups, which the program of a CPU does without.
    assert "feature_group_count = 32" in program.mlir_module()


def test_what_the_program_has_no_room_for_stands_beside_it():
    trained = fabricate("tiny_resnet")
    description = json.loads(files(trained)[".json"])
    assert description["class_names"] == list(trained.class_names)
    assert description["std"] == [0.2, 0.3, 0.25]
    assert description["preparation"] == {"side": 16, "share": 0.875, "reduced": True}
    assert description["input"].startswith("images: uint8 [batch, 16, 16, 3]")
    assert description["output"] == "logits: float32 [batch, 5]"
    assert description["platforms"] == ["cpu", "cuda", "tpu"]
