"""Encoders by name; ``module:Name`` reaches a function or an encoder of a user's own."""

import hashlib
import inspect
import json
from pathlib import Path

from metarl.core.errors import MetaRLError
from metarl.core.plugins import FEATURES, import_named
from metarl.core.registry import Registry
from metarl.fewshot import features
from metarl.fewshot.features.base import Encoder, FunctionEncoder

encoders_by_name: Registry[Encoder] = Registry(Encoder, "encoder", FEATURES, "encoder", package=features, named=True)
DEFAULTS = {"text": "minilm", "smiles": "morgan-counts", "table": "table"}  # by what the items are
_OF_MODELS = ("st", "timm")  # before the name of a model that a library knows
register_encoder = encoders_by_name.register


def is_own_encoder(name: str) -> bool:
    """Return whether a name is ``module:Name`` of a user's own code, which no file may have imported."""
    return ":" in name and name.partition(":")[0] not in _OF_MODELS


def make_encoder(name: str, fitted: str = "") -> Encoder:
    """Return an encoder.

    Args:
        name: of an encoder, such as ``minilm``; ``st:NAME`` or ``timm:NAME`` of a model that these libraries know; or
            ``module:Name`` of a function from items to vectors, or of an ``Encoder``.
        fitted: what it was fitted to before, in JSON as ``fitted_to`` returns it.
    """
    kind, _, model = name.partition(":")
    made = _own(name) if is_own_encoder(name) else encoders_by_name.find(kind)(model)
    if fitted:
        made.fitted = json.loads(fitted)
    return made


def fitted_to(encoder: Encoder) -> str:
    """Return what an encoder was fitted to, in JSON; nothing where it depends on no training items."""
    return json.dumps(encoder.fitted) if encoder.fitted else ""


def _own(name: str) -> Encoder:
    found = import_named(name)
    if isinstance(found, type) and issubclass(found, Encoder):
        return found()
    if isinstance(found, Encoder):
        return found
    if not callable(found):
        raise MetaRLError(f"{name} is no encoder; name a function that takes items and returns numbers (n, d).")
    file = inspect.getsourcefile(found) if inspect.isroutine(found) else None
    code = Path(file).read_bytes() if file and Path(file).is_file() else b""
    return FunctionEncoder(name, found, hashlib.sha256(code).hexdigest())
