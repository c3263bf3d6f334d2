"""What a person sees of a run: a bar on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from tqdm import tqdm


class Progress:
    """Shows how far a run is; nothing it does changes the run.

    On a terminal one bar per epoch shows loss, accuracy, images per second and the time the whole
    run still needs, and another how far an evaluation is. Elsewhere a line is written at most every
    `seconds`.
    """

    def __init__(
        self,
        total_steps: int,
        batch_size: int,
        *,
        file: TextIO | None = None,
        seconds: float = 60.0,
        enabled: bool = True,
    ) -> None:
        self._total_steps = total_steps
        self._batch_size = batch_size
        self._file = sys.stdout if file is None else file
        self._seconds = seconds
        self._enabled = enabled
        self._bar: tqdm | None = None
        self._spoken = time.monotonic()
        self._rate: float | None = None
        self._label = ""

    def start_epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None:
        """An epoch of `steps` steps begins, `done` of them behind it."""
        self._label = f"epoch {epoch + 1}/{epochs}"
        self._bar = self._open_bar(self._label, steps, done)

    def update(
        self, step: int, steps: int, seconds: float | None, loss: float, accuracy: float
    ) -> None:
        """`steps` steps up to `step` took `seconds`; the last had this loss and accuracy.

        Without `seconds`, which the first steps spent on compiling, nothing is said of speed.
        """
        if seconds:
            rate = steps / seconds
            self._rate = rate if self._rate is None else 0.9 * self._rate + 0.1 * rate
        if self._bar is not None:
            self._bar.set_postfix_str(self._describe(step, loss, accuracy), refresh=False)
            self._bar.update(steps)
        elif time.monotonic() - self._spoken > self._seconds:
            self.say(f"{self._label} {self._describe(step, loss, accuracy)}")

    def finish_epoch(self) -> None:
        """The epoch's bar goes."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    @contextlib.contextmanager
    def evaluation(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """Shows how far the evaluation of a set is.

        Args:
          name: of the set.

        Yields:
          What is called with how many batches are done, of how many.
        """
        label = f"evaluating {name}"

        def advance(done: int, batches: int) -> None:
            if self._bar is None:
                self._bar = self._open_bar(label, batches, 0)
            if self._bar is not None:
                self._bar.update(done - self._bar.n)
            elif time.monotonic() - self._spoken > self._seconds:
                self.say(f"{label} {done}/{batches} batches")

        try:
            yield advance
        finally:
            self.finish_epoch()

    def say(self, line: str) -> None:
        """Writes one line, above the bar if there is one."""
        self._spoken = time.monotonic()
        if not self._enabled:
            return
        if self._bar is not None:
            self._bar.write(line, file=self._file)
        else:
            print(line, file=self._file, flush=True)

    def _open_bar(self, label: str, total: int, done: int) -> tqdm | None:
        """A bar on a terminal, None elsewhere."""
        if not self._enabled or not self._file.isatty():
            return None
        return tqdm(
            total=total,
            initial=done,
            desc=label,
            file=self._file,
            leave=False,
            dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n}/{total}{postfix}",
        )

    def _describe(self, step: int, loss: float, accuracy: float) -> str:
        text = f"loss {loss:.3f}, accuracy {accuracy:.3f}"
        if self._rate:
            left = (self._total_steps - step) / self._rate
            text += f", {self._rate * self._batch_size:.0f} images/s, {_duration(left)} left"
        return text


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
