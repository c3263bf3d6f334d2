"""The arithmetic that graphics cards are sold with."""

# Name of the device, or its beginning -> FLOP/s of dense bfloat16 products with float32 sums, of
# the manufacturer's data sheets. A longer name comes before its beginning.
_BFLOAT16 = {
    "NVIDIA H200": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H100": 989e12,
    "NVIDIA B200": 2250e12,
    "NVIDIA A100": 312e12,
    "NVIDIA A10": 125e12,
    "NVIDIA L40S": 362e12,
    "NVIDIA L4": 121e12,
}


def known_peak(device: str, compute_dtype: str) -> float | None:
    """FLOP/s of a device's data sheet; None for what the table does not have.

    Args:
      device: its name, as JAX says it.
      compute_dtype: "bfloat16" or "float32", of which the table has the first alone.
    """
    if compute_dtype != "bfloat16":
        return None
    return next((peak for name, peak in _BFLOAT16.items() if device.startswith(name)), None)
