"""What must be set before JAX starts: CPU flags and the compilation cache."""

import functools
import hashlib
import importlib.metadata
import logging
import os
import pathlib
import platform
import sys

_log = logging.getLogger(__name__)

# With this kind of fusion XLA's convolutions take 1.6 times as long on a CPU (a ResNet-18 training
# step at batch 128). Only the named kind is removed: without YNNPACK's reductions, BatchNorm's sums
# lose three digits.
_CPU_FLAG = "--xla_cpu_experimental_ynn_fusion_type"
_CPU_FLAG_VALUE = "-individual_convolution"
# An unknown XLA flag aborts the process, so it is set only where it is known to exist.
_CPU_FLAG_SINCE = (0, 10, 2)


def configure() -> None:
    """Prepares the process for JAX; call it before anything uses a device.

    Adds the CPU flag above to `XLA_FLAGS` unless the user set that flag or JAX has read it already
    (see `missing_flags`), and turns on JAX's persistent compilation cache unless the user chose its
    folder. The cache's folder is named by jaxlib version and CPU: entries of another machine can
    crash a process.
    """
    added = missing_flags()
    if added and not _has_started():
        os.environ["XLA_FLAGS"] = " ".join([*xla_flags(), *added])
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(cache_dir() / "xla" / _machine())
    # By default compilations under a second are not kept; initialisation is made of them.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    if "jax" in sys.modules:
        _repeat_for_imported_jax()


def cache_dir() -> pathlib.Path:
    """The folder for files that can be made again: `$XDG_CACHE_HOME/skdsam_jax`."""
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root) / "skdsam_jax"


def xla_flags() -> list[str]:
    """The flags in `XLA_FLAGS`, which with config and versions decide the last digits of a run."""
    return os.environ.get("XLA_FLAGS", "").split()


def missing_flags() -> list[str]:
    """What `configure` adds to `xla_flags`; after it, what JAX was started without."""
    version = importlib.metadata.version("jaxlib").split(".")
    if tuple(int(part) for part in version[:3]) < _CPU_FLAG_SINCE:
        return []
    if any(flag.partition("=")[0] == _CPU_FLAG for flag in xla_flags()):
        return []
    return [f"{_CPU_FLAG}={_CPU_FLAG_VALUE}"]


@functools.cache
def warn_of_missing_flags() -> None:
    """Says, once per process, which of its flags JAX was started without, if any."""
    if missing_flags():
        _log.warning(
            "JAX started without %s, so numbers may differ from those of the command in their last "
            "digits; call skdsam_jax.runtime.configure() before anything uses a device",
            " ".join(missing_flags()),
        )


def _has_started() -> bool:
    """Whether JAX has read its flags: it does when something first asks for a device."""
    if "jax" not in sys.modules:
        return False
    # JAX says so nowhere in public.
    from jax._src import xla_bridge

    return xla_bridge.backends_are_initialized()


def _machine() -> str:
    """A name for this jaxlib on this kind of CPU."""
    cpu = platform.machine()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        first = info.read_text().split("\n\n")[0].splitlines()
        cpu += "".join(line for line in first if line.startswith(("model name", "flags")))
    digest = hashlib.sha256((cpu + platform.platform()).encode()).hexdigest()[:12]
    return f"jaxlib-{importlib.metadata.version('jaxlib')}-{digest}"


def _repeat_for_imported_jax() -> None:
    """JAX reads its environment variables when imported; later they must be set by name."""
    import jax

    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update(
        "jax_persistent_cache_min_compile_time_secs",
        float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]),
    )
