"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test images of 32x32 pixels.

Krizhevsky, Learning multiple layers of features from tiny images, 2009.
"""

from skdsam_jax.data.sources.prepared import PreparedSet

CIFAR10 = PreparedSet(
    name="cifar10", mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)
)  # fmt: skip
CIFAR100 = PreparedSet(name="cifar100", mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762))
