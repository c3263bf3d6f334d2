"""What a compiled program sends between devices, read from its HLO text."""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

_BITS = {
    "pred": 8, "s8": 8, "u8": 8, "s16": 16, "u16": 16, "bf16": 16, "f16": 16,
    "s32": 32, "u32": 32, "f32": 32, "s64": 64, "u64": 64, "f64": 64,
}  # fmt: skip

# "%name = f32[8,4]{1,0} all-reduce(...)"; a combined one has "(f32[8]{0}, f32[])" as its type. On a
# GPU it is split into -start and -done, and the first of them says what is sent.
_OPERATION = re.compile(rf"= (\(.*?\)|\S+) ({'|'.join(KINDS)})(?:-start)?\(")
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")


class Collective(NamedTuple):
    """One operation between devices.

    Attributes:
      kind: a name of `KINDS`.
      size: bytes of its result on one device.
    """

    kind: str
    size: int


class Interconnect(NamedTuple):
    """What is assumed of the network between devices.

    Attributes:
      bandwidth: bytes per second that each device sends while it receives as many.
      latency: seconds that a collective of any size takes.
    """

    bandwidth: float
    latency: float


def find_collectives(text: str) -> list[Collective]:
    """The collectives of a program, in order; `text` is `Compiled.as_text()`."""
    return [Collective(kind, array_bytes(shapes)) for shapes, kind in _OPERATION.findall(text)]


def seconds_between(
    collectives: Iterable[Collective], devices: int, interconnect: Interconnect
) -> float:
    """Time for collectives one after another, by the usual ring algorithms.

    An all-reduce of b bytes on n devices sends 2 b (n-1)/n from each of them; the others half.
    """
    if devices == 1:
        return 0.0
    seconds = 0.0
    for kind, size in collectives:
        sent = (2 if kind == "all-reduce" else 1) * size * (devices - 1) / devices
        seconds += interconnect.latency + sent / interconnect.bandwidth
    return seconds


def array_bytes(types: str) -> int:
    """Bytes of all arrays that a type of HLO names, without what a device pads them by."""
    return sum(
        _BITS[kind] // 8 * math.prod(int(number) for number in dimensions.split(",") if number)
        for kind, dimensions in _ARRAY.findall(types)
    )
