"""Runs that go on: as they were made, beyond their end, or with more seeds."""

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from metarl.core.errors import MetaRLError
from metarl.core.files import using
from metarl.core.lock import locked
from metarl.core.schedule import as_long, config_differences, extended, is_scheduled
from metarl.experiments.run_folder import RunFolder

R = TypeVar("R", bound=RunFolder)


def continued(saved: R, config: Any, seeds: Sequence[int], length: int | None) -> R:
    """Return a saved run as it goes on: with more seeds, or longer, which its folder says from then on.

    Args:
        saved: the run.
        config: that the caller takes it to be made with; raises where it was made with another.
        seeds: to be among its seeds.
        length: steps or iterations of each seed's training, no fewer than it has; as many unless given. Where it is
            given, the config need not say how long the run was.
    """
    if length is not None and not is_scheduled(config):
        config = as_long(config, saved.config)
    if wrong := config_differences(asdict(saved.config), asdict(config)):
        raise MetaRLError(
            f"{saved.path} was made with config {wrong[0]}, not {wrong[1]}; resume it with its own command. To train "
            "beyond its end, say how far: --timesteps, of a few-shot learner --iterations."
        )
    made: R = replace(  # type: ignore[type-var]  # a dataclass
        saved,
        config=saved.config if length is None else extended(saved.config, length),
        seeds=(*saved.seeds, *(seed for seed in seeds if seed not in saved.seeds)),
    )
    if made != saved:
        with locked(saved.path):
            made.write_about(saved.about(saved.path))
    return made


def weights_at(path: Path) -> Path:
    """Return a file of weights: the given one, or that of the first seed of a run or of a published result."""
    with using(path):
        if path.is_file():
            return path
        places = [*path.glob("seed-*/checkpoint.safetensors"), *path.glob("weights-*.safetensors")]
    if not places:
        raise MetaRLError(f"{path} holds no weights; give a run that was trained, a published result, or a checkpoint.")
    return min(places, key=lambda file: int(re.findall(r"(?:seed|weights)-(\d+)", str(file))[-1]))
