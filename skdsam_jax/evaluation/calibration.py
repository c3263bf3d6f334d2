"""Temperature scaling (Guo et al., On calibration of modern neural networks, ICML 2017)."""

import numpy as np

# Where the best temperature is infinite or zero, as for logits that are no better than chance or
# never wrong, it ends here.
_LOWEST, _HIGHEST = 0.01, 100.0

# Halves the interval of the logarithm until float64 tells its ends apart no more.
_HALVINGS = 60


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T that minimises the mean of -log softmax(logits / T)_y.

    In b = 1 / T this is convex, with the derivative mean(sum_c softmax(b z)_c z_c - z_y), whose
    zero is found by bisection of log b.

    Args:
      logits: floating [examples, classes], or log probabilities, which give the same.
      labels: integers [examples].

    Returns:
      T, from 0.01 to 100.
    """
    precise = np.asarray(logits, np.float64)
    precise = precise - precise.max(axis=1, keepdims=True)
    chosen = precise[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        weights = np.exp(inverse * precise)
        mean = (weights * precise).sum(axis=1) / weights.sum(axis=1)
        return float(np.mean(mean - chosen))

    low, high = np.log(1 / _HIGHEST), np.log(1 / _LOWEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if slope(np.exp(middle)) < 0:
            low = middle
        else:
            high = middle
    return float(np.exp(-(low + high) / 2))


def scaled(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Log softmax(z / T) of log softmax(z), float64 [examples, classes]."""
    softened = np.asarray(log_probabilities, np.float64) / temperature
    softened = softened - softened.max(axis=-1, keepdims=True)
    return softened - np.log(np.exp(softened).sum(axis=-1, keepdims=True))
