"""Inference that ends at any exit: at a chosen one, or at the first that is confident enough."""

import collections
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from skdsam_jax.evaluation.evaluator import pad
from skdsam_jax.evaluation.exits import Exits, Variables
from skdsam_jax.evaluation.parts import Carried, Parts
from skdsam_jax.models.operations import at_least_float32
from skdsam_jax.trained import Trained

# Batches of answers that wait for an image before them, at most; then it is answered.
_HELD_BATCHES = 32

# Batches that the device works on while the host is busy with others.
_BATCHES_IN_FLIGHT = 2


class ExitCost(NamedTuple):
    """What one image costs.

    Attributes:
      parameters: of the exit's own network, the trunk up to it and its head.
      flops: of the exit's own network.
      flops_through: of everything up to the exit, with the heads before it: what an image takes
        that leaves here because no exit before was confident.
    """

    parameters: int
    flops: int
    flops_through: int


class Answer(NamedTuple):
    """What was said of one image.

    Attributes:
      exit: index from 0 of the exit that answered.
      probabilities: its softmax, [classes].
    """

    exit: int
    probabilities: np.ndarray


class AnyExit:
    """A trained network that answers at any of its exits.

    The exits' programs are cut out of the traced whole (see `parts.Parts`), so every method and
    every backbone can stop early; each exit compiles once, for one number of images.

        network = AnyExit(skdsam_jax.load("runs/byot"), batch_size=128)
        for answer in network.leave_early(images, confidence=0.9):
            print(answer.exit, answer.probabilities.argmax())

    Attributes:
      costs: of each exit, shallow to deep; see `flops.count_flops`.
      continues: whether a deeper exit goes on where the last one stopped, as all networks of this
        library do; one that mixes up images and pixels begins again.
    """

    def __init__(
        self, trained: Trained, batch_size: int, *, temperatures: Sequence[float] | None = None
    ) -> None:
        """Traces the network; nothing is compiled yet.

        Args:
          trained: from `skdsam_jax.load`.
          batch_size: images at once.
          temperatures: of each exit, which its logits are divided by; None: all 1.

        Raises:
          ValueError: not one temperature for each exit.
        """
        exits = Exits(trained)
        self._variables = exits.variables
        self._batch_size = batch_size
        images = jax.ShapeDtypeStruct((batch_size, *trained.image_shape), jnp.uint8)
        self._parts = Parts(exits.logits, exits.variables, images)
        self.continues = self._parts.continues
        self._temperatures = [1.0] * len(self) if temperatures is None else list(temperatures)
        if len(self._temperatures) != len(self):
            raise ValueError(
                f"temperatures: takes one for each of the {len(self)} exits, not "
                f"{len(self._temperatures)}"
            )
        sizes = [leaf.size for leaf in jax.tree.leaves(exits.variables[0])]
        self.costs = tuple(self._cost(exit, sizes) for exit in range(len(self)))
        self._alone = functools.cache(self._compile_alone)
        self._part = functools.cache(self._compile_part)

    def __len__(self) -> int:
        return self._parts.count

    def compute(self, images: np.ndarray | jax.Array, exit: int) -> jax.Array:
        """The probabilities of one exit, computed by its own network; not waited for.

        Args:
          images: uint8 [batch_size, height, width, channels].
          exit: index from 0; -1 is the deepest.

        Returns:
          [batch_size, classes].
        """
        return self._alone(range(len(self))[exit])(self._variables, images)

    def answer_at(self, images: Iterable[np.ndarray], exit: int = -1) -> Iterator[Answer]:
        """Answers at one exit.

        Args:
          images: uint8 [height, width, channels] each; asked for as they are needed.
          exit: index from 0; -1 is the deepest.

        Yields:
          An answer for each image, in their order.
        """
        exit = range(len(self))[exit]
        in_flight: collections.deque[tuple[int, jax.Array]] = collections.deque()

        def finished() -> Iterator[Answer]:
            count, probabilities = in_flight.popleft()
            return (Answer(exit, row) for row in np.asarray(probabilities)[:count])

        for batch in self._batches(images):
            padded = pad(batch, self._batch_size)
            in_flight.append((len(batch), self.compute(padded, exit)))
            if len(in_flight) > _BATCHES_IN_FLIGHT:
                yield from finished()
        while in_flight:
            yield from finished()

    def leave_early(self, images: Iterable[np.ndarray], confidence: float) -> Iterator[Answer]:
        """Answers at the first exit whose largest probability is at least `confidence`.

        Only images that stay are computed further: they wait before the next exit, on the device,
        until they fill a batch. Images that remain at the end, or that too many answers wait for,
        go on in a batch that is filled up with padding.

        Args:
          images: as `answer_at` takes them.
          confidence: from 0, all leave at the first exit, to more than 1, none leaves early.

        Yields:
          An answer for each image, in their order.
        """
        cascade = _Cascade(self, confidence)
        emitted = 0
        for batch in self._batches(images):
            cascade.enter(batch)
            if len(cascade.answers) > _HELD_BATCHES * self._batch_size:
                cascade.flush()
            while emitted in cascade.answers:
                yield cascade.answers.pop(emitted)
                emitted += 1
        cascade.flush()
        while emitted in cascade.answers:
            yield cascade.answers.pop(emitted)
            emitted += 1

    def step(self, carried: Carried, exit: int) -> tuple[jax.Array, Carried]:
        """The probabilities of an exit and what the next one reads; see `Parts.part`."""
        return self._part(exit)(self._variables, carried)

    def _batches(self, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        images = iter(images)
        while batch := list(itertools.islice(images, self._batch_size)):
            yield np.stack(batch)

    def _cost(self, exit: int, sizes: Sequence[int]) -> ExitCost:
        # Parameters come before the other variables.
        read = zip(sizes, self._parts.variables_read(exit), strict=False)
        return ExitCost(
            parameters=sum(size for size, is_read in read if is_read),
            flops=self._parts.flops_alone(exit),
            flops_through=self._parts.flops_through(exit),
        )

    def _compile_alone(self, exit: int) -> Callable[[Variables, jax.Array], jax.Array]:
        alone = self._parts.alone(exit)
        return jax.jit(lambda variables, images: self._soften(alone(variables, images), exit))

    def _compile_part(self, exit: int) -> Callable[[Variables, Carried], tuple[jax.Array, Carried]]:
        part = self._parts.part(exit)

        @jax.jit
        def compute(variables: Variables, carried: Carried) -> tuple[jax.Array, Carried]:
            logits, further = part(variables, carried)
            return self._soften(logits, exit), further

        return compute

    def _soften(self, logits: jax.Array, exit: int) -> jax.Array:
        """Probabilities, in at least float32."""
        logits = logits.astype(at_least_float32(logits.dtype))
        return jax.nn.softmax(logits / self._temperatures[exit])


class _Cascade:
    """Images on their way from exit to exit.

    Attributes:
      answers: of those that left, by the image's number.
    """

    def __init__(self, network: AnyExit, confidence: float) -> None:
        self.answers: dict[int, Answer] = {}
        self._network, self._confidence = network, confidence
        self._entered = 0
        # Before each exit but the first, what waits there and whose it is.
        self._waiting: dict[int, tuple[Carried, np.ndarray]] = {}

    def enter(self, images: np.ndarray) -> None:
        """Takes a batch to the first exit, and those of it that stay further."""
        numbers = self._entered + np.arange(len(images))
        self._entered += len(images)
        self._advance(0, (pad(images, self._network._batch_size),), numbers)

    def flush(self) -> None:
        """Answers everything that waits."""
        for exit in range(1, len(self._network)):
            if exit in self._waiting:
                self._advance(exit, *self._waiting.pop(exit))

    def _advance(self, exit: int, carried: Carried, numbers: np.ndarray) -> None:
        probabilities, carried = self._network.step(carried, exit)
        known = np.asarray(probabilities)[: len(numbers)]
        deepest = exit + 1 == len(self._network)
        leaves = (known.max(axis=-1) >= self._confidence) | deepest
        self.answers |= {
            int(number): Answer(exit, row)
            for number, row in zip(numbers[leaves], known[leaves], strict=True)
        }
        if not leaves.all():
            self._wait(exit + 1, carried, numbers, np.flatnonzero(~leaves))

    def _wait(self, exit: int, carried: Carried, numbers: np.ndarray, stay: np.ndarray) -> None:
        """Joins what waits before `exit`; a full batch goes on."""
        size = self._network._batch_size
        if len(stay) == size and exit not in self._waiting:
            self._advance(exit, carried, numbers)
            return
        before, waiting = self._waiting.pop(exit, (carried, numbers[:0]))
        everyone = np.concatenate([waiting, numbers[stay]])
        rows = np.zeros(2 * size, np.int32)
        rows[: len(everyone)] = np.concatenate([np.arange(len(waiting)), size + stay])
        first, rest = _regroup(before, carried, rows)
        if len(everyone) < size:
            self._waiting[exit] = first, everyone
            return
        if len(everyone) > size:
            self._waiting[exit] = rest, everyone[size:]
        self._advance(exit, first, everyone[:size])


@jax.jit
def _regroup(waiting: Carried, arrived: Carried, rows: jax.Array) -> tuple[Carried, Carried]:
    """Two batches of the chosen rows of both together."""
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), waiting, arrived)
    first, rest = jnp.split(rows, 2)
    return tuple(jax.tree.map(lambda array, take=take: array[take], both) for take in (first, rest))
