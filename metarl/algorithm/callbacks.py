"""Callbacks as SB3 takes them: none, one, several, or a plain function."""

from collections.abc import Sequence
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback, ProgressBarCallback

Callback = BaseCallback | Sequence[BaseCallback] | Any | None


def as_callback(callback: Callback, progress_bar: bool) -> BaseCallback:
    """Return one callback for all of them, and for the progress bar."""
    if callback is None:
        calls: BaseCallback = CallbackList([])
    elif isinstance(callback, BaseCallback):
        calls = callback
    else:
        calls = CallbackList(list(callback)) if isinstance(callback, Sequence) else ConvertCallback(callback)
    return CallbackList([calls, ProgressBarCallback()]) if progress_bar else calls
