"""Tiny ImageNet, and the sets of photographs: rooms, actions, birds, dogs and ImageNet itself.

Splits are the official ones. ImageNet's validation split, whose labels are known, is the test
split.
"""

from skdsam_jax.data.sources.prepared import PreparedSet

# Of ImageNet's training photographs.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

TINY_IMAGENET = PreparedSet(
    name="tiny_imagenet",
    mean=(0.4802, 0.4481, 0.3975),
    std=(0.2770, 0.2691, 0.2821),
    needs_tensorflow=False,
)
MIT_INDOOR_67 = PreparedSet(
    name="mit_indoor67", mean=MEAN, std=STD, needs_tensorflow=False, one_size=False
)
STANFORD_40_ACTIONS = PreparedSet(
    name="stanford40_actions", mean=MEAN, std=STD, needs_tensorflow=False, one_size=False
)
CALTECH_BIRDS_2010 = PreparedSet(name="caltech_birds2010", mean=MEAN, std=STD, one_size=False)
CALTECH_BIRDS_2011 = PreparedSet(name="caltech_birds2011", mean=MEAN, std=STD, one_size=False)
STANFORD_DOGS = PreparedSet(name="stanford_dogs", mean=MEAN, std=STD, one_size=False)
IMAGENET_2012 = PreparedSet(
    name="imagenet2012",
    mean=MEAN,
    std=STD,
    one_size=False,
    test_split="validation",
    streaming_only=True,
)
