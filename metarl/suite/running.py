"""Running an entry: each of its cells is a run folder, so that what was begun goes on, and any command opens it."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback

from metarl.algorithm.registry import agent_class
from metarl.core.errors import MetaRLError
from metarl.experiments.options import TrainingOptions
from metarl.experiments.run import Run
from metarl.experiments.training import train_parts
from metarl.suite.protocol import Cell
from metarl.suite.recipes import agent_of, recipe

_MEASURED = 2.0  # seconds of a core that a forecast is made of, after the first iteration


@dataclass(frozen=True)
class Entry:
    """What takes part: an agent with its options, and where its runs are."""

    agent: str  # its name, module:Class, or one of recipes.VARIANTS
    folder: Path
    options: tuple[str, ...] = ()  # "field=value" of its config, on every family

    def path(self, cell: Cell) -> Path:
        """Return the run folder of a cell."""
        return self.folder / cell.name

    def run(self, cell: Cell, seeds: Sequence[int], command: str) -> Run:
        """Make the run folder of a cell, or open the one that is there; raises where it is of another making."""
        cell.make_family()  # raises where its tasks have changed
        config = recipe(self.agent, cell, self.options)
        made_of = (agent_of(self.agent), cell.family, cell.variant, config, seeds, command)
        return Run.create(self.path(cell), *made_of, resume=True)

    def seconds(self, cell: Cell, seed: int) -> tuple[float, float, bool]:
        """Return how long a seed takes and how much of that is left, in seconds, and whether that was measured now.

        The rate is that of this seed, or another one of the run; unless there is any, some seconds are trained.
        """
        path = self.path(cell)
        if Run.is_at(path):
            run = Run.open(path, family=cell.family, agent=agent_of(self.agent), trust=self._trusted(cell))
            known = {each: run.about_training(each) for each in run.seeds if run.checkpoint(each).exists()}
            if known:
                like = known.get(seed) or next(iter(known.values()))
                rate = like["num_timesteps"] / max(like["wall_seconds"], 1e-9)
                left = max(0, cell.steps - known[seed]["num_timesteps"]) if seed in known else cell.steps
                return cell.steps / rate, left / rate, False
        whole = cell.steps / self._measured(cell)
        return whole, whole, True

    def _trusted(self, cell: Cell) -> list[str]:
        from metarl.core.plugins import plugin_names

        return plugin_names(recipe(self.agent, cell, self.options))

    def _measured(self, cell: Cell) -> float:
        """Return the steps a second of a core here, from a few seconds of training."""
        agent = agent_class(agent_of(self.agent))(cell.make_family(), recipe(self.agent, cell, self.options))
        clock = _Clock(_MEASURED)
        agent.learn(cell.steps, clock)
        return clock.rate


def train_entry(
    entry: Entry,
    cells: Sequence[Cell],
    seeds: Sequence[int],
    command: str,
    jobs: int | None = None,
    *,
    quiet: bool = False,
) -> list[Run]:
    """Train an entry on cells, first one seed of each, and return its runs; what was done before is not done again.

    Args:
        entry: what is trained.
        cells: of the protocol, or unofficial ones.
        seeds: of every cell.
        command: that wants it, which the run folders keep.
        jobs: processes at a time; as many as the cores allow unless given.
        quiet: whether no progress is shown.
    """
    runs = [entry.run(cell, seeds, _only(command, cell)) for cell in cells]
    parts = [(run, seed) for seed in seeds for run in runs]
    parts = [(run, seed) for run, seed in parts if not is_done(run, seed)]
    if parts:
        train_parts(parts, TrainingOptions(), jobs, quiet=quiet)
    return runs


def is_done(run: Run, seed: int) -> bool:
    """Return whether a seed of a run has been trained to its end."""
    return run.checkpoint(seed).exists() and run.trained_amount(seed) >= run.budget


def entry_folder(agent: str, name: str | None, runs: Path) -> Path:
    """Return where the runs of an entry are; raises for a name that is no folder's."""
    made = agent.rpartition(":")[2] if name is None else name
    if not made or made.startswith(".") or set(made) & {"/", "\\"} or not made.isprintable():
        raise MetaRLError(f"--name {made!r}: it names a folder, so give it no slash and no dot at its start.")
    return runs / made


def cut_option(words: Sequence[str], option: str) -> tuple[Sequence[str], Sequence[str]]:
    """Return the words of a command before an option and those behind all its values; without it, all and none."""
    if option not in words:
        return words, []
    at = words.index(option)
    end = next((i for i in range(at + 1, len(words)) if words[i].startswith("--")), len(words))
    return words[:at], words[end:]


def _only(command: str, cell: Cell) -> str:
    """Return a command that runs this cell alone."""
    before, behind = cut_option(shlex.split(command), "--family")
    words, kept = iter([*before, *behind]), []
    for word in words:
        if word == "--tier":
            next(words, None)
        elif word != "--dry-run":
            kept.append(word)
    return shlex.join([*kept, "--family", cell.family if not cell.official else cell.name])


class _Clock(BaseCallback):
    """Ends a training once it knows its rate: iterations take long at first, and others may use the cores too."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds, self._marks = seconds, list[tuple[int, float]]()

    @property
    def rate(self) -> float:
        """The steps a second of one core, from the second iteration on."""
        (first, began), (last, ended) = self._marks[0], self._marks[-1]
        return (last - first) / max(ended - began, 1e-9) if last > first else last / max(ended, 1e-9)

    def _on_rollout_end(self) -> None:
        self._marks.append((self.num_timesteps, time.process_time()))

    def _on_step(self) -> bool:
        return len(self._marks) < 2 or self._marks[-1][1] - self._marks[0][1] < self._seconds
