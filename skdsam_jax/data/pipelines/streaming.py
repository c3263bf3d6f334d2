"""Data that is decoded while training runs: photographs that do not fit into memory.

Worker processes decode, Grain manages them and hands over what they made in shared memory; the
rest is done on the device, as for resident data. A batch is a pure function of (seed, epoch, step):
it is the same for any number of workers, devices and processes, and a run that goes on asks for
the step where it stopped.
"""

import dataclasses
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import connection, parent_process

import grain
import jax
import numpy as np
from absl import flags

from skdsam_jax.data.pipelines.photograph_crops import CentralCrops, RandomCrops
from skdsam_jax.data.pipelines.resident import Resident

# Examples that a worker decodes at once: few enough that the first batch comes soon and that all
# workers share it, enough that handing over costs little.
_PART = 16

_MOST_WORKERS = 16

# Parts that each worker makes ahead, and batches that wait on the device.
_PARTS_AHEAD = 4
_BATCHES_AHEAD = 2


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Gathered:
    """Rows that were chosen on the host; indexing it gives them, whatever the indices.

    Where resident data is indexed on the device, this takes its place.
    """

    rows: jax.Array

    def __getitem__(self, indices: jax.Array) -> jax.Array:
        return self.rows

    def __len__(self) -> int:
        return len(self.rows)


class Streaming:
    """The batches of one split, spread over devices.

    Worker processes start at the first batch and stay until `close`. What they make ahead goes
    over the end of an epoch; asking for another step than the next one starts them anew.

    Attributes:
      abstract: shapes and types of a batch.
    """

    def __init__(
        self,
        crops: RandomCrops | CentralCrops,
        sharding: jax.sharding.Sharding,
        workers: int | None = None,
    ) -> None:
        """Nothing is read or started yet.

        Args:
          crops: what to decode.
          sharding: of the batch over the devices; of several processes each decodes what its own
            devices need.
          workers: processes that decode; 0: a thread of this one; None: one per core, at most 16.
        """
        self._crops, self._sharding = crops, sharding
        self._workers = min(os.cpu_count(), _MOST_WORKERS) if workers is None else workers
        batch, shape = crops.batch_size, crops.split.image_shape
        self._shapes = ((batch, *shape), (batch,))
        self.abstract = Resident(
            Gathered(jax.ShapeDtypeStruct(self._shapes[0], np.uint8, sharding=sharding)),
            Gathered(jax.ShapeDtypeStruct(self._shapes[1], np.int32, sharding=sharding)),
        )
        needed = [
            np.arange(batch)[index[0]]
            for index in sharding.addressable_devices_indices_map((batch,)).values()
        ]
        self._rows = np.unique(np.concatenate(needed))
        self._iterator: grain.DatasetIterator | None = None
        self._next: tuple[int, int] | None = None

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Resident]:
        """The batches of an epoch.

        Args:
          epoch: counted from 0.
          first_step: counted from 0 in the epoch; what comes before is not decoded.

        Yields:
          Images uint8 [batch, side, side, 3] and labels int32 [batch] as `Gathered`.

        Raises:
          ConfigError: a picture is damaged; the message names it.
        """
        for step in range(first_step, self._crops.steps):
            if self._iterator is None or self._next != (epoch, step):
                self._start(epoch, step)
            self._next = self._crops.following(epoch, step)
            yield next(self._iterator)

    def close(self) -> None:
        """Ends the worker processes."""
        if self._iterator is not None:
            self._iterator.close()
            self._iterator = None

    def _start(self, epoch: int, step: int) -> None:
        self.close()
        # Grain reads absl flags, which this program does not use, and refuses unparsed ones.
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        parts = _Parts(self._crops, self._rows, epoch * self._crops.steps + step)
        threads = 0 if self._workers else 1
        ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=_PARTS_AHEAD * threads)
        dataset = grain.MapDataset.source(parts).to_iter_dataset(ahead)
        dataset = dataset.mp_prefetch(
            grain.MultiprocessingOptions(self._workers, _PARTS_AHEAD), worker_init_fn=_set_up_worker
        )
        dataset = dataset.batch(parts.per_batch, batch_fn=_concatenate).map(self._place)
        dataset = grain.experimental.ThreadPrefetchIterDataset(
            dataset, prefetch_buffer_size=_BATCHES_AHEAD
        )
        self._iterator = iter(dataset)

    def _place(self, local: tuple[np.ndarray, np.ndarray]) -> Resident:
        """This process' rows of a batch, as part of the whole batch on the devices."""

        def place(rows: np.ndarray, shape: tuple[int, ...]) -> Gathered:
            def part(index: tuple[slice, ...]) -> np.ndarray:
                first, last, _ = index[0].indices(shape[0])
                start = np.searchsorted(self._rows, first)
                return rows[start : start + last - first]

            return Gathered(jax.make_array_from_callback(shape, self._sharding, part))

        return Resident(*map(place, local, self._shapes))


@dataclasses.dataclass(frozen=True)
class _Parts:
    """Every part of every batch from some step on, without end; a random-access source of Grain."""

    crops: RandomCrops | CentralCrops
    rows: np.ndarray
    first: int

    @property
    def per_batch(self) -> int:
        return -(-len(self.rows) // _PART)

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        batch, part = divmod(int(index), self.per_batch)
        epoch, step = divmod(self.first + batch, self.crops.steps)
        rows = self.rows[part * _PART : (part + 1) * _PART]
        return self.crops.make(epoch, step, rows)


def _concatenate(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _set_up_worker(index: int, count: int) -> None:
    jax.config.update("jax_platforms", "cpu")
    # Training itself decides what Ctrl-C and SIGTERM mean; it still needs batches then.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # A training process that is killed cannot end its workers.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    connection.wait([parent_process().sentinel])
    os._exit(1)
