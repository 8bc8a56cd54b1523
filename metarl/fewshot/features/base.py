"""What every encoder is: a frozen function from raw items to vectors, by name and with a version."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metarl.core.errors import MetaRLError

Features = NDArray[np.float32]


class Encoder(ABC):
    """A function from raw items to vectors; ``fitted`` is what it has learned of training items, as JSON holds it.

    A subclass defines ``__call__``, and ``fit`` where it depends on training items. ``register_encoder`` gives it a
    name.

    Args:
        model: what a library calls the model, of the encoders that take one.
    """

    name: ClassVar[str] = ""
    version: str = "1"  # changes where the vectors do, so that older ones are not read from the cache

    def __init__(self, model: str = "") -> None:
        self.model = model
        self.fitted: dict[str, Any] = {}

    def fit(self, items: Sequence[Any]) -> None:  # noqa: B027 - most depend on no training items
        """Learn what the encoder depends on of the training items, nothing unless a subclass says so."""

    @abstractmethod
    def __call__(self, items: Sequence[Any]) -> Features:
        """Return the vectors ``(n, d)`` of ``n`` items."""

    @property
    def identity(self) -> str:
        """Return the name by which vectors in the cache are told apart."""
        return self.name


class FunctionEncoder(Encoder):
    """An encoder made of a function of one's own, ``module:Name``.

    Args:
        place: the function's name, as it was given.
        function: takes a sequence of items and returns numbers ``(n, d)``.
        version: of the code, so that changed code is not answered from the cache.
    """

    def __init__(self, place: str, function: Callable[[Sequence[Any]], ArrayLike], version: str) -> None:
        super().__init__()
        self._place, self._function, self.version = place, function, version

    def __call__(self, items: Sequence[Any]) -> Features:
        return np.asarray(self._function(items), np.float32)

    @property
    def identity(self) -> str:
        return self._place


def optional(module: str, encoder: str, remedy: str) -> Any:
    """Import a library that an encoder stands on, or raise saying what to install."""
    try:
        return importlib.import_module(module)
    except (ImportError, OSError, RuntimeError) as error:  # also of libraries that do not go together
        said = str(error).strip().partition("\n")[0]
        raise MetaRLError(f"The encoder {encoder} needs {module} ({said}): {remedy}.") from error
