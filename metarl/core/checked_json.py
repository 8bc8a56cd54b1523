"""JSON files that carry a checksum of their text, so that damage is found before anything is read from them."""

import hashlib
import re

from metarl.core.errors import MetaRLError

_SEAL = re.compile(r'\{"sha256": "([0-9a-f]{64})",')


def seal(text: str) -> str:
    """Return the text of a JSON object with its SHA-256 as the first field."""
    if not text.startswith("{") or text[1:].lstrip().startswith("}"):
        raise MetaRLError("Only the text of a JSON object that has fields can be sealed.")
    rest = text[1:]
    return f'{{"sha256": "{_digest(rest)}",{rest}'


def unseal(text: str, remedy: str) -> str:
    """Return the text that was sealed; raises, with the remedy, where it is no longer that."""
    found = _SEAL.match(text)
    if found is None:
        raise MetaRLError(f"it does not begin with a checksum, so it is damaged or of an older version; {remedy}")
    rest = text[found.end() :]
    if _digest(rest) != found[1]:
        raise MetaRLError(f"its checksum does not fit what it holds, so it is damaged or was changed; {remedy}")
    return "{" + rest


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
