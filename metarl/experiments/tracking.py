"""Tracking a training with Weights & Biases, beside the run's own logs."""

from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter

from metarl.core.errors import MetaRLError

_PROJECT = "metarl"


def check_tracking() -> Any:
    """Return the package wandb; raise where it is not installed."""
    try:
        import wandb
    except ImportError as error:
        raise MetaRLError(f"--track needs wandb ({error}): pip install 'metarl-suite[track]'.") from error
    return wandb


class Tracker(KVWriter):
    """A logger output that sends every row to Weights & Biases, as one of its runs for each seed.

    A training that is resumed goes on in the same run there. ``WANDB_MODE=offline`` keeps it on this machine; the other
    variables of the environment that wandb knows, ``WANDB_PROJECT`` among them, count too.

    Args:
        run_id: of the run folder.
        seed: that is trained.
        folder: of the seed.
        about: what the run folder says of itself.
    """

    def __init__(self, run_id: str, seed: int, folder: Path, about: dict[str, Any]) -> None:
        wandb, name = check_tracking(), folder.parent.name
        self._run = wandb.init(
            project=wandb.Settings().project or _PROJECT,
            id=f"{run_id}-{seed}",
            name=f"{name}-{folder.name}",
            group=name,
            config={**about, "seed": seed},
            dir=str(folder),
            resume="allow",
            settings=wandb.Settings(console="off"),
        )

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        self._run.log({name: value for name, value in key_values.items() if isinstance(value, int | float)}, step=step)

    def close(self) -> None:
        self._run.finish()
