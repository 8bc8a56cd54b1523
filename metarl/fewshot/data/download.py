"""Where data lies on this machine, and how a file of it is fetched: as it should be, or not at all."""

import hashlib
import http.client
import os
import urllib.request
from pathlib import Path

from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic


def data(name: str) -> Path:
    """The folder of a data set below ``METARL_DATA``; without that variable, the one below the cache."""
    folder = os.environ.get("METARL_DATA")
    return Path(folder) / name if folder else cache(name)


def cache(name: str) -> Path:
    """The folder where what is fetched for a data set is kept: in ``~/.cache/metarl``, or below ``XDG_CACHE_HOME``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metarl" / name


def fetch(address: str, target: Path, md5: str | None, what_to_do: str) -> Path:
    """Write what an address gives to ``target``, once it is whole.

    Args:
        address: of the file.
        target: where it is kept.
        md5: what its content must have, where that is known.
        what_to_do: a sentence for those who have no network.

    Raises where the address cannot be reached, breaks off, or gives something else; nothing is written then.
    """
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            content: bytes = answer.read()
    except (OSError, http.client.HTTPException) as error:  # the second where the connection breaks off
        raise MetaRLError(f"{address} cannot be reached ({error}). {what_to_do}") from error
    if md5 is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise MetaRLError(
            f"What {address} gave, {len(content):,} bytes, is not the {target.name} that it should be (MD5 {md5}); try "
            f"again later. {what_to_do}"
        )
    write_atomic(target, content)
    return target
