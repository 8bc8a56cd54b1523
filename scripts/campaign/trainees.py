"""What is killed: every agent and every few-shot learner, so small that it trains in about a second."""

import os
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from metarl.agents.baselines.finetune import FineTuneConfig
from metarl.agents.baselines.sb3_config import PPOConfig, SACConfig, SB3Config
from metarl.agents.maml.config import MAMLConfig
from metarl.agents.pearl.config import PEARLConfig
from metarl.agents.rl2.config import RL2Config
from metarl.agents.varibad.config import VariBADConfig
from metarl.core.errors import MetaRLError
from metarl.experiments.fewshot_run import FewShotRun
from metarl.experiments.options import TrainingOptions
from metarl.experiments.run import Run
from metarl.experiments.run_folder import RunFolder
from metarl.experiments.training import train_run
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.data.registry import DATASETS, make_dataset
from metarl.fewshot.learners.registry import learner_names, make_learner, preset_config

POINTS, GRID, BANDIT = "metarl/PointNavigation-v0", "metarl/GridNavi-v0", "metarl/BernoulliBandit-v0"
_ITERATIONS = 8


@dataclass(frozen=True)
class Trainee:
    """Something that trains into a run folder.

    Args:
        name: a row of the table.
        create: makes the folder, or opens it where it is there.
        exact: whether a resumed training ends bit for bit as one that was never killed.
    """

    name: str
    create: Callable[[Path], RunFolder]
    exact: bool = True

    def train(self, path: Path, seconds: float = 0.0) -> None:
        """Train all seeds to their budget, from where they are, with so many seconds between checkpoints."""
        train_run(self.create(path), TrainingOptions(seconds=seconds), jobs=1)


def agent(
    name: str, kind: str, family: str, variant: str | None, config: Any, seeds: tuple[int, ...] = (0,)
) -> Trainee:
    """A trainee that is an agent of a kind on a family."""

    def create(path: Path) -> RunFolder:
        return Run.create(path, kind, family, variant, config, seeds, "campaign", resume=True)

    return Trainee(name, create, exact=not isinstance(config, SB3Config))


def learner(name: str, config: FewShotConfig, dataset: str, seeds: tuple[int, ...] = (0,)) -> Trainee:
    """A trainee that is a few-shot learner."""

    def create(path: Path) -> RunFolder:
        return FewShotRun.create(path, name, config, dataset, seeds, "campaign", resume=True)

    return Trainee(f"{name} {dataset}", create)


def agents(iterations: int = _ITERATIONS) -> list[Trainee]:
    """Every agent, and those of its settings that train by other code, for so many iterations."""
    small: dict[str, Any] = {"hidden": (4,), "tasks": 2, "episodes": 3}
    maml = MAMLConfig(**small, inner_steps=1, epochs=1, total_timesteps=iterations * 240)
    trpo = replace(maml, outer="trpo", outer_steps="last", cg_iterations=2)
    tune = FineTuneConfig(
        **small, total_timesteps=iterations * 120, step_sizes=(0.1, 0.3), choice_tasks=2, choice_points=2
    )
    memory: dict[str, Any] = {"tasks": 4, "width": 8, "embedding": 4, "head": (4,)}
    memory |= {"epochs": 1, "minibatches": 2}
    rl2 = RL2Config(**memory, normalise_observations=True, episodes=3, total_timesteps=iterations * 12)
    varibad = VariBADConfig(
        **memory,
        decoder=(4,),
        vae_updates=1,
        vae_tasks=2,
        vae_beliefs=2,
        vae_targets=3,
        buffer=6,
        total_timesteps=iterations * 12,
        episodes=3,
    )
    pearl = PEARLConfig(
        train_tasks=3,
        tasks=2,
        posterior_episodes=1,
        encoder=(4,),
        hidden=(4,),
        updates=2,
        meta_batch=2,
        batch=4,
        replay=100,
        total_timesteps=iterations * 80,
    )
    ppo = SB3Config(
        n_envs=2, total_timesteps=iterations * 16, ppo=PPOConfig(n_steps=8, batch_size=8, n_epochs=1, net_arch=(4,))
    )
    settings = SACConfig(buffer_size=64, learning_starts=8, batch_size=4, gradient_steps=1, net_arch=(4,), log_every=16)
    sac = SB3Config(algorithm="sac", n_envs=2, total_timesteps=iterations * 16, sac=settings)
    remembering = [
        agent(f"rl2 {name}", "rl2", BANDIT, None, replace(rl2, memory=name))
        for name in ("gru", "lstm", "transformer", "external", "snail")
    ]
    return [
        agent("maml", "maml", POINTS, "pearl", maml),
        agent("maml trpo", "maml", POINTS, "pearl", trpo),
        *remembering,
        agent("varibad", "varibad", BANDIT, None, varibad),
        agent("pearl", "pearl", POINTS, "pearl", pearl),
        agent("finetune", "finetune", POINTS, "pearl", tune),
        agent("multitask ppo", "multitask", POINTS, "pearl", ppo),
        agent("multitask sac", "multitask", POINTS, "pearl", sac),
        agent("oracle ppo", "oracle", POINTS, "pearl", ppo),
    ]


def learners(iterations: int = _ITERATIONS) -> list[Trainee]:
    """Every few-shot learner, on drawn characters and, those that predict numbers, on sinusoids."""
    found = []
    for name in learner_names():
        for dataset, episode in (("strokes", EpisodeSpec(5, 1, 2)), ("sinusoid", EpisodeSpec(1, 5, 5))):
            small = {"iterations": iterations, "tasks": 2, "episode": episode, "width": 4, "strided": True}
            config = replace(preset_config(name), **small)
            try:
                make_learner(name, config, make_dataset(dataset).spec)
            except MetaRLError:  # not made for classes, or not for numbers
                continue
            found.append(learner(name, config, dataset))
    return found


def keep_sources() -> None:
    """Make the drawn characters once for all children."""
    made = cache(DATASETS["strokes"])
    made()
    DATASETS["strokes"] = made


def warm(trainees: Sequence[Trainee], work: Path) -> None:
    """Import what is imported only when something trains, or every child would do so anew."""
    keep_sources()
    named = {each.name: each for each in trainees}
    several = ("maml", "varibad", "multitask ppo", "multitask sac", "maml strokes")
    with open(os.devnull, "w") as silence, redirect_stderr(silence):
        for name in [each for each in several if each in named] or named:
            named[name].train(work / name)
