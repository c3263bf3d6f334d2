"""Nodes of an ONNX graph, one call for each layer.

A value is known by its name, and holds [batch, features, height, width].
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from skdsam_jax.models.layers import BatchNorm, Conv, Dense

# Of 2020; BatchNormalization has the form that inference needs since 15, and all else is older.
OPSET = 15
_IR_VERSION = 8


class Graph:
    """The nodes and arrays of a network at inference, written one after another."""

    def __init__(self, onnx: ModuleType) -> None:
        """Args: onnx: the package, which not everybody has."""
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._arrays: list[Any] = []

    def conv(self, x: str, conv: Conv, norm: BatchNorm | None = None) -> str:
        """A convolution, with the normalisation of its result folded into kernel and bias.

        scale (kernel * x - mean) / sqrt(var + eps) + bias
            = (a kernel) * x + (bias - a mean),   a = scale / sqrt(var + eps)
        """
        kernel = _numbers(conv.kernel).transpose(3, 2, 0, 1)
        arrays = [kernel]
        if norm is not None:
            factor = _factor(norm)
            arrays = [
                kernel * factor[:, None, None, None],
                _numbers(norm.bias) - factor * _numbers(norm.mean),
            ]
        (above, below), (left, right) = conv.padding
        strides = conv.strides if isinstance(conv.strides, Sequence) else 2 * (conv.strides,)
        return self._add(
            "Conv",
            x,
            *map(self._constant, arrays),
            kernel_shape=kernel.shape[2:],
            strides=strides,
            pads=(above, left, below, right),
            group=conv.feature_group_count,
        )

    def norm(self, x: str, norm: BatchNorm) -> str:
        """Batch normalisation that stands before a convolution, by running statistics."""
        arrays = (norm.scale, norm.bias, norm.mean, norm.var)
        constants = [self._constant(_numbers(array)) for array in arrays]
        return self._add("BatchNormalization", x, *constants, epsilon=norm.epsilon)

    def relu(self, x: str) -> str:
        """max(x, 0)."""
        return self._add("Relu", x)

    def add(self, x: str, y: str) -> str:
        """The sum of two maps of one shape."""
        return self._add("Add", x, y)

    def concatenate(self, x: str, y: str) -> str:
        """The features of x and behind them those of y."""
        return self._add("Concat", x, y, axis=1)

    def max_pool(self, x: str) -> str:
        """The maximum over 3x3 pixels, every second one: `operations.max_pool`."""
        return self._add("MaxPool", x, kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))

    def halve(self, x: str, size: tuple[int, int]) -> str:
        """The mean of 2x2 pixels; a last odd row or column is the mean of what there is.

        Args:
          x: a map.
          size: its height and width.
        """
        pads = (0, 0, *(side % 2 for side in size))
        return self._add(
            "AveragePool", x, kernel_shape=(2, 2), strides=(2, 2), pads=pads, count_include_pad=0
        )

    def pixels(self, x: str, mean: Sequence[float], std: Sequence[float]) -> str:
        """uint8 [batch, height, width, features] as numbers: (x / 255 - mean) / std."""
        mean, std = (np.reshape(values, (1, -1, 1, 1)) for values in (mean, std))
        x = self._add("Transpose", x, perm=(0, 3, 1, 2))
        x = self._add("Cast", x, to=self._onnx.TensorProto.FLOAT)
        x = self._add("Mul", x, self._constant(1 / (255 * std)))
        return self._add("Add", x, self._constant(-mean / std))

    def classify(self, x: str, dense: Dense, result: str) -> None:
        """The mean over pixels and an affine map of it: the graph's result, of that name."""
        x = self._add("Flatten", self._add("GlobalAveragePool", x))
        arrays = (_numbers(dense.kernel), _numbers(dense.bias))
        self._add("Gemm", x, *map(self._constant, arrays), result=result)

    def model(self, inputs: Sequence[Any], outputs: Sequence[Any], name: str) -> Any:
        """The whole as a checked `onnx.ModelProto`."""
        helper = self._onnx.helper
        graph = helper.make_graph(self._nodes, name, inputs, outputs, initializer=self._arrays)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="skdsam_jax",
        )
        self._onnx.checker.check_model(model, full_check=True)
        return model

    def _add(self, operator: str, *inputs: str, result: str | None = None, **attributes) -> str:
        """Writes a node; returns the name of its only result."""
        name = f"{operator}_{len(self._nodes)}"
        result = result or name
        node = self._onnx.helper.make_node(operator, inputs, [result], name=name, **attributes)
        self._nodes.append(node)
        return result

    def _constant(self, values: np.ndarray) -> str:
        name = f"array_{len(self._arrays)}"
        array = np.ascontiguousarray(values, np.float32)
        self._arrays.append(self._onnx.numpy_helper.from_array(array, name))
        return name


def _factor(norm: BatchNorm) -> np.ndarray:
    return _numbers(norm.scale) / np.sqrt(_numbers(norm.var) + norm.epsilon)


def _numbers(variable: Any) -> np.ndarray:
    """A variable in float64, so that folding rounds once."""
    return np.asarray(variable[...], np.float64)
