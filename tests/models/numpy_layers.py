"""Layers written plainly in float64 NumPy, to compare ours with."""

import numpy as np


def convolution(images, kernel, stride=1, padding=0, groups=1):
    """[batch, height, width, in] with kernel [k, k, in / groups, out]."""
    images, kernel = np.asarray(images, np.float64), np.asarray(kernel, np.float64)
    size, _, depth, out = kernel.shape
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height, width = ((n - size) // stride + 1 for n in padded.shape[1:3])
    result = np.zeros((len(images), height, width, out))
    for row in range(height):
        for column in range(width):
            top, left = stride * row, stride * column
            window = padded[:, top : top + size, left : left + size]
            for feature in range(out):
                first = feature // (out // groups) * depth
                result[:, row, column, feature] = np.sum(
                    window[..., first : first + depth] * kernel[..., feature], (1, 2, 3)
                )
    return result


def depthwise(images, kernel, stride=1):
    """[batch, height, width, features] with kernel [3, 3, 1, features], padded by one."""
    return convolution(images, kernel, stride, padding=1, groups=images.shape[-1])


def normalized(inputs, norm):
    """Training-mode batch normalisation with the parameters of the module `norm`."""
    axes = tuple(range(inputs.ndim - 1))
    mean, variance = inputs.mean(axes), inputs.var(axes)
    scale, bias = (np.asarray(p[...], np.float64) for p in (norm.scale, norm.bias))
    return (inputs - mean) / np.sqrt(variance + 1e-5) * scale + bias


def relu(inputs):
    return np.maximum(inputs, 0)


def unit(images, module, stride=1, padding=0):
    """A `ConvNorm`."""
    conv = module.conv
    groups = conv.feature_group_count
    return normalized(convolution(images, conv.kernel[...], stride, padding, groups), module.norm)


def max_pool(images, before=(1, 1)):
    """Windows of 3x3 with stride 2; the first begins `before` pixels outside."""
    height, width = images.shape[1:3]
    above, beside = before
    rows = [
        [
            images[:, max(top, 0) : top + 3, max(left, 0) : left + 3].max((1, 2))
            for left in range(-beside, width - beside, 2)
        ]
        for top in range(-above, height - above, 2)
    ]
    return np.stack([np.stack(row, 1) for row in rows], 1)


def shake(module, seed=0):
    """Moves BatchNorm's parameters off 1 and 0, where a forgotten one would go unnoticed."""
    import jax.numpy as jnp
    from flax import nnx

    rng = np.random.default_rng(seed)
    for path, variable in nnx.to_flat_state(nnx.state(module, nnx.Param)):
        if path[-1] in ("scale", "bias"):
            value = variable[...]
            variable[...] = value + jnp.asarray(0.3 * rng.normal(size=value.shape), value.dtype)
