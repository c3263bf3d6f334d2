"""The same training in PyTorch, as its users would write it to be fast."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from benchmarks import memory
from benchmarks.pytorch_augment import distort, normalize
from benchmarks.pytorch_losses import LOSSES
from benchmarks.pytorch_network import Network
from benchmarks.random_images import random_images
from benchmarks.settings import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, Settings
from skdsam_jax import allocator


class PytorchTraining:
    """Trains on one device.

    Images are channels_last and lie on the device as uint8, SGD is fused, and the host does nothing
    in a step but launch it.

    Attributes:
      network: what trains.
    """

    def __init__(self, settings: Settings, device: str, compiled: bool) -> None:
        """Creates the network.

        Args:
          settings: what is trained.
          device: "cpu" or "cuda".
          compiled: whether forward pass and loss go through `torch.compile`.

        Raises:
          RuntimeError: this PyTorch cannot use a GPU.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("this PyTorch sees no GPU")
        self.settings, self.device = settings, torch.device(device)
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
        images, labels = random_images(settings)
        self._images = torch.from_numpy(images).to(device)
        self._labels = torch.from_numpy(labels).to(device, torch.int64)
        order = np.random.default_rng(0).permutation(len(labels))
        steps = len(labels) // settings.batch_size
        order = order[: steps * settings.batch_size].reshape(steps, -1)
        self._order = torch.from_numpy(order).to(device)
        self.network = Network(
            settings.method, settings.model, settings.width, settings.classes
        ).to(device, memory_format=torch.channels_last)
        self._optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=LEARNING_RATE,
            momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY,
            fused=True,
        )
        self._loss = torch.compile(self._forward) if compiled else self._forward
        self._step = 0

    def describe(self) -> dict[str, Any]:
        """Versions, allocator, threads and size of the network."""
        return {
            "allocator": allocator.name(),
            "versions": {"torch": torch.__version__},
            "threads": torch.get_num_threads(),
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
        }

    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        """Sets every parameter."""
        parameters = dict(self.network.named_parameters())
        if odd := parameters.keys() ^ weights.keys():
            raise KeyError(f"only one of the two has {', '.join(sorted(odd)[:5])}")
        with torch.no_grad():
            for name, array in weights.items():
                parameters[name].copy_(torch.tensor(array))

    def use_float64(self) -> None:
        """Keeps parameters, and so computes, in float64 from now on."""
        self.network.double()

    def loss_and_gradient(self) -> tuple[float, dict[str, np.ndarray]]:
        """Of the first images, undistorted, in the parameters' type."""
        parameters = dict(self.network.named_parameters())
        dtype = next(iter(parameters.values())).dtype
        batch = slice(0, self.settings.batch_size)
        images = normalize(self._images[batch], dtype)
        loss = LOSSES[self.settings.method](self.network(images), self._labels[batch])
        gradient = torch.autograd.grad(loss, list(parameters.values()))
        arrays = (value.cpu().contiguous().numpy() for value in gradient)
        return loss.item(), dict(zip(parameters, arrays, strict=True))

    def first_step(self) -> dict[str, float]:
        """Takes one step, compiling what has to be; returns the seconds."""
        start = time.perf_counter()
        self.run(1)
        return {"first_step_seconds": time.perf_counter() - start}

    def reset_peak_memory(self) -> None:
        """Begins to measure the peak of memory anew."""
        memory.reset_peak()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def peak_memory_bytes(self) -> int:
        """Of the device; on a CPU of the process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        return memory.peak_bytes()

    def run(self, steps: int) -> float:
        """Takes this many steps and waits for the last; returns seconds per step."""
        start = time.perf_counter()
        losses = torch.zeros((), device=self.device)
        for _ in range(steps):
            indices = self._order[self._step % len(self._order)]
            images, labels = self._images[indices], self._labels[indices]
            if self.settings.augment:
                images = distort(images, self.settings.crop_padding)
            loss = self._loss(normalize(images, torch.float32), labels)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()
            losses += loss.detach()
            self._step += 1
        total = losses.item()
        seconds = (time.perf_counter() - start) / steps
        if not np.isfinite(total):
            raise ArithmeticError("the training diverged")
        return seconds

    def matrix_peak(self, size: int) -> float:
        """FLOP/s of the product of two square matrices in the compute type, the best of ten."""
        dtype = getattr(torch, self.settings.compute_dtype)
        matrix = torch.ones((size, size), dtype=dtype, device=self.device)
        seconds = []
        for _ in range(11):
            start = time.perf_counter()
            product = matrix @ matrix
            product[0, 0].item()
            seconds.append(time.perf_counter() - start)
        return 2 * size**3 / min(seconds[1:])

    def _forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        half = self.settings.compute_dtype == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            outputs = self.network(images)
        return LOSSES[self.settings.method](outputs, labels)
