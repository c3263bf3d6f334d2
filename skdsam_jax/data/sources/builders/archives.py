"""Archives of pictures, read without being unpacked."""

import contextlib
import pathlib
import tarfile
import zipfile
from collections.abc import Callable, Iterator

from skdsam_jax.options import ConfigError


class Archive:
    """The files in a zip or tar archive; lists that stand alone are archives of one file.

    Attributes:
      path: of the archive.
      names: of the files in it.
    """

    def __init__(
        self, path: pathlib.Path, names: frozenset[str], read: Callable[[str], bytes]
    ) -> None:
        self.path, self.names, self._read = path, names, read

    def read(self, name: str) -> bytes:
        """The contents of a file in the archive.

        Raises:
          ConfigError: there is no such file, or it is damaged.
        """
        if name not in self.names:
            raise ConfigError(f"{self.path}: has no {name}")
        try:
            return self._read(name)
        # The modules behind raise whatever a damaged archive makes of them.
        except Exception as error:
            raise ConfigError(f"{self.path}: {name} is damaged ({error})") from error

    def lines(self, name: str) -> list[str]:
        """The lines of a text file in the archive, without blank ones."""
        text = self.read(name).decode("utf-8", errors="replace")
        return [line.strip() for line in text.splitlines() if line.strip()]


@contextlib.contextmanager
def open_archive(path: pathlib.Path, name: str) -> Iterator[Archive]:
    """Opens a `.zip`, `.tar` or `.txt` file.

    Args:
      path: where it lies.
      name: what it is called officially; a download may be called otherwise.

    Raises:
      ConfigError: it is missing, or not what its name says.
    """
    with contextlib.ExitStack() as stack:
        try:
            if name.endswith(".txt"):
                contents = path.read_bytes()
                archive = Archive(path, frozenset([name]), lambda _: contents)
            elif name.endswith(".zip"):
                file = stack.enter_context(zipfile.ZipFile(path))
                archive = Archive(path, frozenset(file.namelist()), file.read)
            else:
                file = stack.enter_context(tarfile.open(path))
                members = {member.name: member for member in file if member.isfile()}
                archive = Archive(
                    path,
                    frozenset(members),
                    lambda name: file.extractfile(members[name]).read(),
                )
        except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise ConfigError(f"{path}: cannot be read ({reason})") from error
        yield archive
