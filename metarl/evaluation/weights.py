"""The weights that a published result keeps: one file a seed, from which anyone can score it again."""

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from metarl.core.checkpoint import load_checkpoint
from metarl.core.errors import MetaRLError
from metarl.evaluation.sums import check_published
from metarl.experiments.run_folder import RunFolder

MOST_BYTES = 6 * 2**20  # of one seed: three layers of 300 need as much, and nothing that is published needs more
_NAME = re.compile(r"weights-(\d+)\.safetensors")
_SUMMARY = "summary.json"


def weights_file(folder: Path, seed: int) -> Path:
    """Return the path of the weights of one seed."""
    return folder / f"weights-{seed}.safetensors"


def weights_files(folder: Path) -> dict[int, Path]:
    """Return the files of a result's weights by seed; none where it keeps none."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return {int(match[1]): path for match, path in sorted(found, key=lambda each: each[1].name) if match}


def save_weights(folder: Path, run: RunFolder) -> None:
    """Write the weights of every seed of a run into a result's folder; raises MetaRLError where they are too large."""
    for seed in run.seeds:
        file = weights_file(folder, seed)
        run.trained(seed).save_weights(file)
        if (size := file.stat().st_size) > MOST_BYTES:
            file.unlink()
            raise MetaRLError(
                f"The weights of seed {seed} of {folder} take {size / 2**20:.1f} MB, and a result keeps at most "
                f"{MOST_BYTES / 2**20:.0f} a seed; name what only training needs in the learner's training_only."
            )


def remove_weights(folder: Path, but: Collection[int] = ()) -> None:
    """Remove the weights of what was published here before, but for some seeds."""
    for seed, file in weights_files(folder).items() if folder.is_dir() else ():
        if seed not in but:
            file.unlink()


def is_published(folder: Path) -> bool:
    """Return whether a folder is a result's, such as ``results/maml/PointNavigation-maml``."""
    return (folder / _SUMMARY).is_file()


def about_published(folder: Path) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """Return a result's summary, and what the weights of each seed say of themselves; raises where there are none.

    Nothing is loaded that the files name: what is published is of agents and families that are installed.
    """
    try:
        summary = json.loads((folder / _SUMMARY).read_text())
        command = str(summary["command"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MetaRLError(f"{folder / _SUMMARY} is damaged ({error!r}); restore it.") from error
    files = weights_files(folder)
    if not files:
        raise MetaRLError(f"{folder} keeps no weights; train it again to score it: {command}")
    check_published(folder)
    abouts = {seed: load_checkpoint(file)[1] for seed, file in files.items()}
    for seed, about in abouts.items():
        if (found := about.get("fewshot", about).get("seed")) != seed:
            raise MetaRLError(f"{files[seed]} holds the weights of seed {found}; restore it.")
    return summary, abouts
