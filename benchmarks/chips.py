"""What TPUs can do by their data sheets, and the time that follows for a program."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from benchmarks.collectives import Collective, Interconnect, seconds_between

# A message takes about this long from a chip to the one beside it.
_HOP_SECONDS = 1e-6

# Links over which a chip sends at a time: those at the corners of a slice have no more.
_LINKS = 2


class Chip(NamedTuple):
    """One kind of chip.

    Attributes:
      accelerator: what `TPU_ACCELERATOR_TYPE` calls it.
      flops: FLOP per second of products of bfloat16 matrices.
      bandwidth: bytes per second between its memory and what computes.
      memory: bytes.
      link: bytes per second that one link sends while it receives as many.
      clock: cycles per second of what computes: `flops` by those of a cycle in its matrix units.
    """

    accelerator: str
    flops: float
    bandwidth: float
    memory: float
    link: float
    clock: float


# https://docs.cloud.google.com/tpu/docs/v5e and .../v6e. Of the interconnect's bandwidth there,
# which is that of four links in both directions, one link in one direction has an eighth.
CHIPS = {
    "v5e": Chip("v5litepod", 197e12, 819e9, 16e9, link=400e9 / 8, clock=197e12 / (4 * 2 * 128**2)),
    "v6e": Chip("v6e", 918e12, 1638e9, 32e9, link=800e9 / 8, clock=918e12 / (2 * 2 * 256**2)),
}


class Topology(NamedTuple):
    """A slice of chips in a rectangle, such as "v5e:2x2".

    Attributes:
      name: as XLA takes it.
      chip: its kind.
      sides: chips along each side.
    """

    name: str
    chip: Chip
    sides: tuple[int, ...]

    @property
    def chips(self) -> int:
        """How many there are."""
        return math.prod(self.sides)

    @property
    def interconnect(self) -> Interconnect:
        """What a ring through the chips does; a reduction goes to all corners and back."""
        hops = 2 * sum(side - 1 for side in self.sides)
        return Interconnect(bandwidth=_LINKS * self.chip.link, latency=hops * _HOP_SECONDS)

    @property
    def environment(self) -> dict[str, str]:
        """What libtpu has to be told on a machine that has none of the chips."""
        return {
            "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
            "TPU_SKIP_MDS_QUERY": "1",
            "TPU_WORKER_HOSTNAMES": "localhost",
            "TPU_WORKER_ID": "0",
            "TPU_ACCELERATOR_TYPE": f"{self.chip.accelerator}-{self.chips}",
        }

    def describe(self) -> dict[str, Any]:
        """What is assumed of it."""
        return {**self.chip._asdict(), **self.interconnect._asdict()}


def as_topology(name: str) -> Topology:
    """The slice of a name, for `argparse` too: a kind of `CHIPS`, a colon, and its sides.

    Raises:
      ValueError: it is no such name.
    """
    match = re.fullmatch(rf"({'|'.join(CHIPS)}):(\d+)x(\d+)", name)
    sides = (0,) if match is None else (int(match[2]), int(match[3]))
    if match is None or not all(sides):
        raise ValueError(f"takes names such as v5e:2x2, of {' and '.join(CHIPS)}, not {name!r}")
    return Topology(name, CHIPS[match[1]], sides)


# What argparse calls a value that it refuses.
as_topology.__name__ = f"topology, such as v5e:2x2, of {' and '.join(CHIPS)}"


def predict(
    flops: float, moved: float, collectives: Iterable[Collective], place: Topology
) -> Mapping[str, float]:
    """Seconds of a step by the roofline: arithmetic beside memory, and then the network.

    A chip computes and moves bytes at the same time, so that the slower of both counts. All
    collectives follow, one after another, as if none overlapped with anything.

    Args:
      flops: of one chip.
      moved: bytes that one chip reads from and writes to its memory.
      collectives: of the program.
      place: where it runs.
    """
    computing, moving = flops / place.chip.flops, moved / place.chip.bandwidth
    sending = seconds_between(collectives, place.chips, place.interconnect)
    return {
        "compute_seconds": computing,
        "memory_seconds": moving,
        "network_seconds": sending,
        "step_seconds": max(computing, moving) + sending,
    }
