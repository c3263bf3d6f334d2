"""What a compiled program moves to and from a device's memory, read from its HLO text.

XLA's own count, `bytes accessed`, is of all that operations read and write. On a TPU much of that
never leaves the chip: XLA keeps arrays in the memory beside the arithmetic, marked S(1) in their
layout, and copies between the two memories while it computes. Here only what lies in the large
memory counts.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.collectives import array_bytes

# "  %name = f32[8,4]{1,0:T(8,128)S(1)} fusion(%x, %y), calls=%other, ..."
_INSTRUCTION = re.compile(
    r"\s+(?:ROOT )?%?(?P<name>[\w.\-]+) = (?P<result>\(.*?\)|\S+) (?P<kind>[\w\-]+)\((?P<rest>.*)"
)
_COMPUTATION = re.compile(r"(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) .*\{$")
_ARRAY = re.compile(r"\w+\[[\d,]*\](?:\{[^}]*\})?")
_REFERENCE = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"(?:body|condition|to_apply|calls|branch_computations)=(%[\w.\-]+|\{[^}]*\})")

# They name arrays and move nothing.
_FREE = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "custom-call")
# What these call is run as it stands; a fusion is one operation.
_CONTROL = ("while", "conditional", "call")
# They read as much of their first operand as they return.
_READS_PART = ("gather", "dynamic-slice", "slice")


class Instruction(NamedTuple):
    """One line of a computation.

    Attributes:
      name: of its result.
      kind: what it does.
      result: type and layout of its result.
      arguments: names of what it reads, or the number of a parameter, as text.
      rest: everything behind the arguments.
    """

    name: str
    kind: str
    result: str
    arguments: str
    rest: str

    @property
    def operands(self) -> list[str]:
        """Names of what it reads."""
        return _REFERENCE.findall(self.arguments)


class Moved(NamedTuple):
    """What one operation moves.

    Attributes:
      bytes: to and from memory.
      cycles: that XLA expects it to take, 0 where it says nothing.
      name: of the operation in the program.
      result: type and shape of its result.
      source: JAX's name for where it comes from, None if it came from no line of the program.
    """

    bytes: int
    cycles: int
    name: str
    result: str
    source: str | None


def find_traffic(text: str) -> list[Moved]:
    """What each operation of a program moves, largest first; `text` is `Compiled.as_text()`.

    The body of a loop counts once, as in XLA's count.
    """
    computations, entry = _parse(text)
    moved = []
    for name in _executed(computations, entry):
        known = {instruction.name: instruction for instruction in computations[name]}
        for instruction in computations[name]:
            if instruction.kind in (*_FREE, *_CONTROL) or instruction.kind.endswith("-start"):
                continue
            moved.append(
                Moved(
                    _bytes(instruction, known, computations),
                    _cycles(instruction.rest),
                    instruction.name,
                    re.sub(r"\{[^}]*\}", "", instruction.result),
                    _source(instruction.rest),
                )
            )
    return sorted(moved, key=lambda operation: -operation.bytes)


def _parse(text: str) -> tuple[dict[str, list[Instruction]], str]:
    """Each computation's instructions, and the name of the one where the program begins."""
    computations: dict[str, list[Instruction]] = {}
    entry = current = ""
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            current = match["name"]
            computations[current] = []
            entry = current if match["entry"] else entry
        elif current and (match := _INSTRUCTION.match(line)):
            arguments, _, rest = match["rest"].partition(")")
            computations[current].append(
                Instruction(match["name"], match["kind"], match["result"], arguments, rest)
            )
    return computations, entry


def _executed(computations: dict[str, list[Instruction]], name: str) -> Iterator[str]:
    yield name
    for instruction in computations[name]:
        if instruction.kind in _CONTROL:
            for called in _CALLED.findall(instruction.rest):
                for inner in _REFERENCE.findall(called):
                    yield from _executed(computations, inner)


def _bytes(
    instruction: Instruction,
    known: dict[str, Instruction],
    computations: dict[str, list[Instruction]],
) -> int:
    if instruction.kind in ("copy-done", "slice-done"):
        # What it copies begins to be read at its start, and a part of it may be all that is.
        (source,) = (known[name].result for name in known[instruction.operands[0]].operands)
        ends = [_in_memory(end) for end in (source, instruction.result)]
        return sum(ends) * array_bytes(instruction.result)
    if instruction.kind.endswith("-done"):
        operands = known[instruction.operands[0]].operands
    else:
        operands = instruction.operands
    moved = _in_memory_bytes(instruction.result)
    called = _CALLED.search(instruction.rest) if instruction.kind == "fusion" else None
    for index, operand in enumerate(operands):
        whole = _in_memory_bytes(known[operand].result)
        if whole and called:
            fused = computations[called[1].removeprefix("%")]
            whole = min(whole, _bytes_read(index, fused, whole))
        elif index == 0 and instruction.kind in _READS_PART:
            whole = min(whole, array_bytes(instruction.result))
        moved += whole
    return moved


def _bytes_read(index: int, fused: list[Instruction], whole: int) -> int:
    """Of a fusion's operand of `whole` bytes: less where only parts are taken from it."""
    name = next(i.name for i in fused if i.kind == "parameter" and i.arguments == str(index))
    readers = [i for i in fused if name in i.operands]
    if any(i.kind not in _READS_PART or name in i.operands[1:] for i in readers):
        return whole
    return sum(array_bytes(i.result) for i in readers)


def _in_memory(result: str) -> bool:
    return "S(" not in result


def _in_memory_bytes(result: str) -> int:
    """Bytes of the arrays of a type that lie in the large memory."""
    return sum(array_bytes(array) for array in _ARRAY.findall(result) if _in_memory(array))


def _cycles(rest: str) -> int:
    match = re.search(r'"estimated_cycles":"(\d+)"', rest)
    return int(match[1]) if match else 0


def _source(rest: str) -> str | None:
    match = re.search(r'op_name="([^"]*)"', rest)
    return match[1] if match else None
