"""Films: what a reference policy, or an agent before and after adaptation, does on several tasks side by side."""

from dataclasses import dataclass
from typing import cast

import gymnasium
import torch
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.core.learner import MetaLearner
from metarl.core.types import Params
from metarl.evaluation.agent import held_out
from metarl.evaluation.driver import evaluation_keys
from metarl.experiments.progress import Reporter
from metarl.experiments.run import Run, chosen_seed
from metarl.family.base import TaskFamily
from metarl.family.reference_policies import RandomPolicy, privileged_params
from metarl.family.views.trials import Snapshot, ViewBatch, check_render_mode, to_numpy
from metarl.plotting.video import Frame, encoded_within, grid, headed
from metarl.rollout.batch import Step
from metarl.rollout.rollout import rollout
from metarl.tasks import Tasks

_RANDOM = "random"
_MOST_TASKS = 1000  # side by side in one picture


@dataclass(frozen=True)
class Film:
    """Episodes of every task, which pictures are drawn from."""

    family: TaskFamily
    tasks: Tasks
    heads: tuple[str, ...]  # what each episode shows
    histories: tuple[list[list[Snapshot]], ...]  # episode, task, step


def render_run(
    run: Run, split: str = "test", n_tasks: int = 4, points: int = 2, seed: int | None = None, *, quiet: bool = True
) -> Film:
    """Play the agent of one seed of a run, before any adaptation and after each of ``points - 1``."""
    agent = run.trained(chosen_seed(run, seed))
    tasks = _tasks(agent.family, split, n_tasks)
    return render_policy(
        agent.learner, agent.params, agent.family, tasks, points, agent.n_envs, part=split, quiet=quiet
    )


def render_reference(family: TaskFamily, reference: str = _RANDOM, split: str = "test", n_tasks: int = 4) -> Film:
    """Play one episode of a reference policy, or of random actions."""
    reference_policies = {_RANDOM: RandomPolicy(family.action_space), **family.reference_policies()}
    if reference not in reference_policies:
        raise MetaRLError(
            f"{family.name} has no reference policy {reference!r}; choose one of {', '.join(reference_policies)}."
        )
    tasks = _tasks(family, split, n_tasks)
    return render_policy(
        reference_policies[reference], privileged_params(tasks), family, tasks, 1, 1, reference, part=split
    )


@torch.no_grad()
def render_policy(
    learner: MetaLearner,
    params: Params,
    family: TaskFamily,
    tasks: Tasks,
    points: int,
    n_envs: int,
    name: str = "",
    *,
    part: str = "test",
    quiet: bool = True,
) -> Film:
    """Play the episodes that ``adaptation_curve`` scores on a part of the split; of those of a point keep the first.

    Args:
        learner: an agent's or a reference policy.
        params: of the learner.
        family: of the tasks, which can be rendered.
        tasks: the first of the part.
        points: of the adaptation curve.
        n_envs: of a task.
        name: what the film shows; unless given, each episode is named by how much adaptation it follows.
        part: of the split.
        quiet: whether no progress is shown.
    """
    check_render_mode(family, "rgb_array")
    if points < 1:
        raise MetaRLError(f"points={points}: a film has at least one, before any adaptation.")
    keys = evaluation_keys(family, part, len(tasks), n_envs)
    batch = _Recorded(cast(ViewBatch, family.batch(tasks.repeat(n_envs), keys)))
    state = learner.initial(params, len(tasks))
    heads, histories = [], []
    with Reporter({0: "playing"}, points, "episodes", quiet=quiet) as reporter:
        for point in range(points):
            trajectory, after = rollout(learner, params, state, batch, n_envs=n_envs, first_episode=point)
            state = (
                after if learner.online else learner.adapt(params, state, trajectory) if point + 1 < points else state
            )
            episodes = point * n_envs
            seen = f"after adaptation, {episodes} episode{'s' * (episodes > 1)}"
            heads.append(name or (seen if point else "before adaptation"))
            lengths = trajectory.lengths[:, 0, 0].tolist()
            histories.append([batch.history(i * n_envs, length) for i, length in enumerate(lengths)])
            reporter(0, point + 1)
    return Film(family, tasks, tuple(heads), tuple(histories))


def frames(film: Film, steps: int | None = None, *, quiet: bool = True) -> list[Frame]:
    """Draw a film's pictures, of each episode at most ``steps`` steps; an episode that is over stands still."""
    if steps is not None and steps < 1:
        raise MetaRLError(f"steps={steps}: show at least one.")
    lengths = [max(map(len, histories)) for histories in film.histories]
    shown = [longest if steps is None else min(longest, steps + 1) for longest in lengths]
    pictures = []
    with Reporter({0: "drawing"}, sum(shown), "pictures", quiet=quiet) as reporter:
        for head, histories, n in zip(film.heads, film.histories, shown, strict=True):
            last = [film.family.render(history[:1], task) for history, task in zip(histories, film.tasks, strict=True)]
            for step in range(n):
                for i, history in enumerate(histories):
                    if 0 < step < len(history):
                        last[i] = film.family.render(history[: step + 1], film.tasks[i])
                pictures.append(headed(grid(last), head))
                reporter(0, len(pictures))
    return pictures


def encoded_film(run: Run, split: str, most: int, *, quiet: bool = True) -> tuple[bytes, str, str]:
    """Return a run's first seed before and after adaptation as a film of at most so many bytes.

    Returns:
        the film, its suffix, and words for what it shows. Raises MetaRLError where the family has no pictures here.
    """
    film = render_run(run, split, quiet=quiet)
    content, suffix = encoded_within(most, frames(film, quiet=quiet), film.family.render_fps)
    return content, suffix, f"Seed {run.seeds[0]} on the first tasks: {', then '.join(film.heads)}."


def _tasks(family: TaskFamily, split: str, n: int) -> Tasks:
    if not 1 <= n <= _MOST_TASKS:
        raise MetaRLError(f"envs={n}: show at least one task and at most {_MOST_TASKS}.")
    tasks = held_out(family, split, None)
    return tasks[[i % len(tasks) for i in range(n)]]


class _Recorded:
    """A batch that keeps the states of its current episode."""

    def __init__(self, inner: ViewBatch) -> None:
        self.inner = inner
        self.observation_space: gymnasium.Space[object] = inner.observation_space
        self.action_space: gymnasium.Space[object] = inner.action_space
        self.horizon, self.keys, self.device = inner.horizon, inner.keys, inner.device
        self._states: list[Snapshot] = []

    @property
    def num_envs(self) -> int:
        return self.inner.num_envs

    def reset(self, episode: int | Tensor = 0, rows: Tensor | None = None) -> Tensor:
        observation = self.inner.reset(episode, rows)
        self._states.clear()
        self._keep()
        return observation

    def step(self, action: Tensor) -> Step:
        outcome = self.inner.step(action)
        self._keep()
        return outcome

    def history(self, i: int, steps: int) -> list[Snapshot]:
        """Return the states of one environment, from its reset to the end of its episode."""
        return [{name: value[i] for name, value in state.items()} for state in self._states[: steps + 1]]

    def _keep(self) -> None:
        self._states.append({name: to_numpy(value) for name, value in self.inner.state.items()})
