"""Downloads and prepares a set: `python -m skdsam_jax prepare cifar100 --data_dir DIR`.

TFDS needs TensorFlow for this, and for this only; it is the extra `prepare`. Tiny ImageNet,
Stanford 40 Actions and MIT Indoor 67 have builders of their own that do without.
"""

import argparse
import contextlib
import importlib.util
import io
import logging
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Sequence

from skdsam_jax.data.sources.catalogue import DATASETS
from skdsam_jax.data.sources.prepared import PreparedSet
from skdsam_jax.data.sources.prepared_folders import (
    data_folder,
    find_prepared,
    prepare_command,
    split_sizes,
    whole_sizes,
)
from skdsam_jax.installation import install_command
from skdsam_jax.options import ConfigError, known

# TFDS's own 10 retries, each waiting twice as long, keep a machine without network for 200 s.
_DOWNLOAD_RETRIES = 5


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code. A failure is one line on stderr and code 1."""
    parser = argparse.ArgumentParser(
        prog="python -m skdsam_jax prepare", description=__doc__.splitlines()[0]
    )
    parser.add_argument("name", help=f"which set: {', '.join(_names())}")
    parser.add_argument(
        "--data_dir", help="where to; $TFDS_DATA_DIR or ~/tensorflow_datasets when not given"
    )
    parser.add_argument(
        "--manual_dir",
        type=pathlib.Path,
        help="take the archives from here, named as at their official addresses; no download",
    )
    parser.add_argument(
        "--allow_partial",
        action="store_true",
        help=f"take archives that hold only a part of the set (of {', '.join(_own_names())})",
    )
    parsed = parser.parse_args(arguments)
    try:
        folder = prepare(
            parsed.name,
            data_folder(parsed.data_dir),
            manual_dir=parsed.manual_dir,
            allow_partial=parsed.allow_partial,
        )
        sizes = split_sizes(folder)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted, nothing was prepared")
    counts = ", ".join(f"{size:,} images in split {split}" for split, size in sizes.items())
    print(f"{parsed.name} is prepared in {folder}: {counts}")
    return 0


def prepare(
    name: str,
    root: pathlib.Path,
    *,
    manual_dir: pathlib.Path | None = None,
    allow_partial: bool = False,
) -> pathlib.Path:
    """Downloads a set and prepares it as `array_record`.

    Everything happens in a temporary folder inside `root`; the finished set is renamed into place,
    so that it is there whole or not at all. A set that is prepared already stays as it is.

    Args:
      name: of the set in `DATASETS`.
      root: the folder of prepared sets; made where it is missing.
      manual_dir: the folder of archives that are already there; None: they are downloaded.
      allow_partial: take archives that hold only a part of the set.

    Returns:
      The folder of the prepared set.

    Raises:
      ConfigError: the set is unknown or needs no preparation, only a part of it is prepared
        already, TensorFlow is needed and not installed, the archives do not hold what they should,
        or downloading, preparing or writing failed.
    """
    if name not in _names():
        raise ConfigError(f"{name}: not a set to prepare; {known(name, _names())}")
    if allow_partial and name not in _own_names():
        raise ConfigError(f"--allow_partial: only for {', '.join(_own_names())}, not {name}")
    # Of an empty folder TFDS makes nothing, and would download.
    if manual_dir is not None and not (manual_dir.is_dir() and any(manual_dir.iterdir())):
        raise ConfigError(f"--manual_dir: no files in {manual_dir}")
    folder = find_prepared(name, root)
    if folder is not None:
        if whole_sizes(folder) is not None and not allow_partial:
            raise ConfigError(
                f"{folder}: holds only a part of {name}; delete it to prepare the whole set"
            )
        return folder
    if DATASETS[name].needs_tensorflow and importlib.util.find_spec("tensorflow") is None:
        raise ConfigError(f"preparing {name} needs TensorFlow; run: {install_command('prepare')}")
    made = [path for path in (root / name, root, *root.parents) if not path.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=root) as temporary:
            arguments = {"allow_partial": True} if allow_partial else {}
            folder = _download_and_prepare(
                name, pathlib.Path(temporary), root, manual_dir, arguments
            )
        made.clear()
        return folder
    # TFDS passes on whatever the network, the archive or the disk raised.
    except Exception as error:
        reason = (
            str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
        )
        reason = " ".join(reason.split())
        raise ConfigError(f"preparing {name} in {root} failed: {reason}") from error
    finally:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()


def _download_and_prepare(
    name: str,
    temporary: pathlib.Path,
    root: pathlib.Path,
    manual_dir: pathlib.Path | None,
    arguments: dict[str, bool],
) -> pathlib.Path:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow would take the memory of every GPU it sees, and training needs it.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import requests
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader, util

    import skdsam_jax.data.sources.builders  # noqa: F401 - registers ours

    downloader.MAX_RETRIES = _DOWNLOAD_RETRIES
    # It would log each retry; the error that ends them says as much.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    builder = tfds.builder(name, data_dir=temporary, **arguments)
    try:
        # TFDS prints that the data lies in what is only our temporary folder.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(
                download_dir=temporary / "downloads",
                download_config=tfds.download.DownloadConfig(
                    manual_dir=manual_dir, try_download_gcs=False
                ),
                file_format="array_record",
            )
    except (requests.RequestException, util.DownloadError) as error:
        message = _describe_download(error)
        if archives := getattr(builder, "URLS", None):
            message += (
                f"; or download {', '.join(archives)} yourself into a folder and run: "
                f"{prepare_command(name, root)} --manual_dir FOLDER"
            )
        raise ConfigError(message) from error
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


def _describe_download(error: Exception) -> str:
    """What kept a download from ending, without what urllib3 wraps around it."""
    request = getattr(error, "request", None)
    if request is None:
        return str(error)
    reason = error.args[0] if error.args else error
    reason = getattr(reason, "reason", None) or reason
    if getattr(reason, "args", None):
        reason = reason.args[-1]
    text = re.sub(r"^HTTPS?Connection(Pool)?\([^)]*\): ", "", str(reason))
    return f"cannot download {request.url}: {text}"


def _names() -> list[str]:
    return [name for name, loader in DATASETS.items() if isinstance(loader, PreparedSet)]


def _own_names() -> list[str]:
    return [name for name in _names() if not DATASETS[name].needs_tensorflow]
