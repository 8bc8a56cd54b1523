"""Meta-World's protocol: adapt for ten episodes, then score three, each until it succeeds, environment by environment."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table

from metarl.algorithm.algorithm import Algorithm
from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.evaluation.agent import held_out
from metarl.evaluation.driver import evaluation_keys
from metarl.evaluation.scores import short_name
from metarl.evaluation.statistics import interquartile_mean
from metarl.experiments.progress import Reporter
from metarl.experiments.run import Run
from metarl.rollout.rollout import rollout
from metarl.tasks import Tasks

Array = NDArray[np.float64]
ADAPTATION, SCORED = 10, 3  # episodes, as in Meta-World's own evaluation
SEEDS = 10  # that McLean et al. 2025 ask for


@dataclass(frozen=True, kw_only=True)
class ProtocolScores:
    """The success of a run by Meta-World's protocol; its package has the same figures for one task at a time."""

    agent: str
    family: str
    variant: str  # names the version of the reward
    split: str
    seeds: tuple[int, ...]
    tasks: int
    adaptation_episodes: int
    scored_episodes: int
    success: Mapping[str, tuple[float, ...]]  # by environment, the share of scored episodes that succeed, seed by seed
    mean_return: float  # of scored episodes, up to their success

    @property
    def mean(self) -> float:
        """Return the mean success over seeds and environments."""
        return float(np.mean(list(self.success.values())))

    @property
    def iqm(self) -> float:
        """Return the interquartile mean of the success over seeds and environments."""
        return float(interquartile_mean(np.array(list(self.success.values()))))

    def to_json(self) -> str:
        """Return fields and means as JSON."""
        return json.dumps({**asdict(self), "mean": self.mean, "iqm": self.iqm}, indent=2) + "\n"

    def save(self, path: Path) -> None:
        """Write the JSON, whole or not at all."""
        write_atomic(path, self.to_json())

    def table(self) -> Group:
        """Return the success by environment for the console."""
        table = Table.grid(padding=(0, 2))
        for name, of_seeds in self.success.items():
            table.add_row(f"  {name}", f"{np.mean(of_seeds):.1%}")
        n = len(self.seeds)
        return Group(
            f"{self.agent} on {short_name(self.family)} ({self.variant}), {self.split}: success after "
            f"{self.adaptation_episodes} episodes, {self.scored_episodes} scored on each of {self.tasks} tasks.",
            table,
            f"Mean {self.mean:.1%}, IQM {self.iqm:.1%}, return until success {self.mean_return:.1f}.",
            f"{n} seed{'s' * (n > 1)}; Meta-World asks for {SEEDS}.",
        )


def evaluate_protocol(
    run: Run, split: str = "test", n_tasks: int | None = None, device: str = "cpu", *, quiet: bool = True
) -> ProtocolScores:
    """Score every seed of a run by Meta-World's protocol.

    Args:
        run: of an agent, on a family whose steps tell ``success``.
        split: ``val`` or ``test``.
        n_tasks: as of ``held_out``.
        device: to play on.
        quiet: whether no progress is shown.
    """
    family = run.family()
    tasks = held_out(family, split, n_tasks)
    groups = np.array(family.groups(tasks))
    agents = [run.trained(seed, device) for seed in run.seeds]
    played = []
    names = {i: f"seed {agent.seed}" for i, agent in enumerate(agents)}
    with Reporter(names, ADAPTATION + SCORED, "episodes", quiet=quiet) as reporter:
        for i, agent in enumerate(agents):
            played.append(play_protocol(agent, tasks, split, report=lambda n, words, i=i: reporter(i, n, words)))
    return ProtocolScores(
        agent=agents[0].label(agents[0].config),
        family=family.id,
        variant=family.variant,
        split=split,
        seeds=tuple(agent.seed for agent in agents),
        tasks=len(tasks),
        adaptation_episodes=ADAPTATION,
        scored_episodes=SCORED,
        success={
            str(name): tuple(float(success[groups == name].mean()) for success, _ in played)
            for name in dict.fromkeys(groups.tolist())
        },
        mean_return=float(np.mean([returns for _, returns in played])),
    )


@torch.no_grad()
def play_protocol(
    agent: Algorithm,
    tasks: Tasks,
    part: str = "test",
    adaptation: int = ADAPTATION,
    scored: int = SCORED,
    report: Callable[[int, str], None] | None = None,
) -> tuple[Array, Array]:
    """Adapt to tasks, then play scored episodes without exploration noise, each from the state after adaptation.

    A learner adapts after as many episodes as in training, or after all where it would take more.

    Returns:
        whether each scored episode succeeds, and its return until then, both ``(task, scored)``.
    """
    learner, params, family = agent.learner, agent.params, agent.family
    n_envs = episodes_at_once(agent, adaptation)
    keys = evaluation_keys(family, part, len(tasks), n_envs).to(agent.device)
    batch = family.batch(tasks.repeat(n_envs), keys, agent.device)
    state, rounds = learner.initial(params, len(tasks)), adaptation // n_envs
    for number in range(rounds):
        support, after = rollout(
            learner, params, state, batch, n_envs=n_envs, first_episode=number, context=agent.rollouts
        )
        state = after if learner.online else learner.adapt(params, state, support)
        if report is not None:
            report((number + 1) * n_envs, f"return {float(support.returns.mean()):.1f}")
    alone = family.batch(tasks, keys[::n_envs], agent.device)
    success, returns = [], []
    for number in range(rounds, rounds + scored):
        episode, _ = rollout(learner, params, state, alone, n_envs=1, first_episode=number, deterministic=True)
        if "success" not in episode.extras:
            raise MetaRLError(
                f"{family.name} tells no success, which this protocol scores; choose a Meta-World family."
            )
        done = (episode.extras["success"] > 0) & episode.valid
        until = episode.valid & (done.cumsum(-1) - done.int() == 0)
        success.append(done.any(-1).flatten(1).double())
        returns.append((episode.reward * until).sum(-1).flatten(1).double())
        if report is not None:
            report(adaptation + number - rounds + 1, f"success {float(success[-1].mean()):.0%}")
    return torch.cat(success, 1).cpu().numpy(), torch.cat(returns, 1).cpu().numpy()


def episodes_at_once(agent: Algorithm, adaptation: int) -> int:
    """Return after how many of so many episodes a learner adapts; raises where they do not divide."""
    n = 1 if agent.learner.online else min(agent.n_envs, adaptation)
    if adaptation % n:
        raise MetaRLError(
            f"This agent adapts to {n} episodes at a time, which does not divide {adaptation} episodes of adaptation; "
            "train one with another number."
        )
    return n
