"""Files are written whole or not at all, and what the system refuses is said in one line with the remedy."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metarl.core.errors import MetaRLError

_TEMPORARY = ".tmp"  # ends the names of files that are being written; such a name begins with a dot
_IN_THE_WAY = "a file or folder is in the way, so choose another place"
_NO_ROOM = "make room on the disk; a training then goes on with --resume"
_NOT_ALLOWED = "choose a place that you may write to"
_REMEDIES = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: _NO_ROOM,
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.EROFS: _NOT_ALLOWED,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.ENOTEMPTY: _IN_THE_WAY,
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "it was removed meanwhile, or its folder was, so restore it or begin anew",
}


def cache_folder() -> Path:
    """Return where what can be made or fetched again is kept: ``METARL_CACHE``, or metarl's in the user's cache."""
    given = os.environ.get("METARL_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metarl"


def refused(error: OSError, path: str | os.PathLike[str] | None = None) -> MetaRLError:
    """Return an error that says what the system refused and what to do; ``path`` is used where it names none."""
    place = path if path is not None else error.filename
    remedy = _REMEDIES.get(error.errno or 0, "choose another place, or mend this one")
    return MetaRLError(f"{'' if place is None else f'{place}: '}{error.strerror or error}; {remedy}.")


@contextmanager
def using(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise MetaRLError, naming ``path``, where the system refuses what the block asks of it."""
    try:
        yield
    except OSError as error:
        raise refused(error, path) from error
    except ValueError as error:
        if "null" not in str(error):
            raise
        raise MetaRLError(f"{str(path)!r} holds a NUL character, which no path may; choose another name.") from error


def write_atomic(path: str | os.PathLike[str], data: str | bytes) -> None:
    """Write ``data`` to ``path`` so that a reader, or a kill at any moment, sees the old file or the new one.

    The data goes to a temporary file in the same folder (a rename is atomic only within one file system), is flushed
    to the disk, and then takes the name. Raises MetaRLError where the system refuses that, and leaves nothing behind;
    a kill leaves the temporary file, see ``remove_temporary``.
    """
    target = Path(path)
    content = data.encode() if isinstance(data, str) else data
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_TEMPORARY}") if target.name else target
    with using(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        # The mode is the one that the user's umask gives to any new file.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def is_temporary(path: Path) -> bool:
    """Tell whether a file is one that ``write_atomic`` has not given its name yet."""
    return path.name.startswith(".") and path.name.endswith(_TEMPORARY)


def remove_temporary(folder: Path) -> None:
    """Remove what kills left of files that were being written into a folder, which may be missing."""
    for file in folder.glob(f".*{_TEMPORARY}"):
        file.unlink(missing_ok=True)
