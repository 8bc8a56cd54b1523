"""What people get wrong in image folders of their own: one class twice, and one image in two classes."""

import hashlib
import unicodedata
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from metarl.fewshot.data.images import Picture

_NAMED = 5  # in one warning


def warn_of_doubles(parts: Mapping[str, Mapping[str, Sequence[Picture]]]) -> None:
    """Warn, naming them, of classes whose names differ only in case or spaces, and of files that are in two classes.

    Args:
        parts: part -> class -> its pictures, as files.
    """
    alike: dict[str, list[str]] = {}
    for part, classes in parts.items():
        for name in classes:
            alike.setdefault(unicodedata.normalize("NFKC", name).casefold().strip(), []).append(f"{part}/{name}")
    _warn("classes have names that differ only in case or spaces; are they one?", alike.values())
    same: dict[bytes, dict[str, str]] = {}
    for part, classes in parts.items():
        for name, pictures in classes.items():
            for called, content in pictures:
                if isinstance(content, Path) and (digest := _digest(content)) is not None:
                    same.setdefault(digest, {}).setdefault(f"{part}/{name}", called)
    _warn("images are in more than one class; leave each in one:", [list(each.values()) for each in same.values()])


def _digest(path: Path) -> bytes | None:
    """Of a file's content; none of what cannot be read, of which reading it warns."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None


def _warn(what: str, groups: Iterable[Sequence[str]]) -> None:
    doubles = [" = ".join(group) for group in groups if len(group) > 1]
    if doubles:
        more = " ..." if len(doubles) > _NAMED else ""
        warnings.warn(f"{len(doubles)} {what} {', '.join(doubles[:_NAMED])}{more}", stacklevel=4)
