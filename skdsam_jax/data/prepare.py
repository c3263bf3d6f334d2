"""Downloads and prepares a set: `python -m skdsam_jax.data.prepare cifar100 --data_dir DIR`.

TFDS needs TensorFlow for this, and for this only; it is the extra `prepare`.
"""

import argparse
import contextlib
import importlib.util
import io
import logging
import os
import pathlib
import sys
import tempfile

from skdsam_jax.data.catalogue import DATASETS
from skdsam_jax.data.prepared import PreparedSet, data_folder, find_prepared
from skdsam_jax.options import ConfigError, known

# TFDS's own 10 retries, each waiting twice as long, keep a machine without network for 200 s.
_DOWNLOAD_RETRIES = 5


def main(arguments: list[str] | None = None) -> None:
    """Runs the command; a failure is one line on stderr and exit code 1."""
    parser = argparse.ArgumentParser(
        prog="python -m skdsam_jax.data.prepare", description=__doc__.splitlines()[0]
    )
    parser.add_argument("name", help=f"which set: {', '.join(_names())}")
    parser.add_argument(
        "--data_dir", help="where to; $TFDS_DATA_DIR or ~/tensorflow_datasets when not given"
    )
    parsed = parser.parse_args(arguments)
    try:
        folder = prepare(parsed.name, data_folder(parsed.data_dir))
    except ConfigError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted, nothing was prepared")
    print(f"{parsed.name} is prepared in {folder}")


def prepare(name: str, root: pathlib.Path) -> pathlib.Path:
    """Downloads a set and prepares it as `array_record`.

    Everything happens in a temporary folder inside `root`; the finished set is renamed into place,
    so that it is there whole or not at all. A set that is prepared already stays as it is.

    Args:
      name: of the set in `DATASETS`.
      root: the folder of prepared sets; made where it is missing.

    Returns:
      The folder of the prepared set.

    Raises:
      ConfigError: the set is unknown or needs no preparation, TensorFlow is not installed, or
        downloading, preparing or writing failed.
    """
    if name not in _names():
        raise ConfigError(f"{name}: not a set to prepare; {known(name, _names())}")
    folder = find_prepared(name, root)
    if folder is not None:
        return folder
    if importlib.util.find_spec("tensorflow") is None:
        raise ConfigError(
            f"preparing {name} needs TensorFlow; run: pip install 'skdsam_jax[prepare]'"
        )
    made = [path for path in (root / name, root, *root.parents) if not path.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=root) as temporary:
            folder = _download_and_prepare(name, pathlib.Path(temporary), root)
        made.clear()
        return folder
    # TFDS passes on whatever the network, the archive or the disk raised.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"preparing {name} in {root} failed: {reason}") from error
    finally:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()


def _download_and_prepare(name: str, temporary: pathlib.Path, root: pathlib.Path) -> pathlib.Path:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow would take the memory of every GPU it sees, and training needs it.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader

    downloader.MAX_RETRIES = _DOWNLOAD_RETRIES
    # It would log each retry; the error that ends them says as much.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    builder = tfds.builder(name, data_dir=temporary)
    # TFDS prints that the data lies in what is only our temporary folder.
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(
            download_dir=temporary / "downloads",
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
            file_format="array_record",
        )
    prepared = pathlib.Path(builder.data_dir)
    folder = root / prepared.relative_to(temporary)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        prepared.rename(folder)
    except OSError:
        # Another process may have finished first; its result is as good.
        if find_prepared(name, root) is None:
            raise
    return folder


def _names() -> list[str]:
    return [name for name, loader in DATASETS.items() if isinstance(loader, PreparedSet)]


if __name__ == "__main__":
    main()
