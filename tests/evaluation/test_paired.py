"""Paired scores: agents of all kinds and seeds, and reference policies, play the same starts and streams."""

from collections.abc import Callable
from copy import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from metarl.algorithm.registry import agent_class
from metarl.core.learner import MetaLearner
from metarl.core.random import stream_keys
from metarl.core.types import Params, State
from metarl.envs import FAMILIES
from metarl.evaluation.agent import held_out
from metarl.evaluation.driver import adaptation_curve, evaluation_keys
from metarl.evaluation.outcome import evaluate_run
from metarl.evaluation.references import reference_evaluations, reference_returns
from metarl.family import TaskFamily, make_family
from metarl.family.listing import families
from metarl.family.reference_policies import privileged_params
from metarl.family.views.observed import with_task
from metarl.plotting.render import render_policy

PEARL = make_family("metarl/PointNavigation-v0", "pearl")  # its starts are random
OTHERS = ("val", "ood")  # splits
REFERENCED = [
    (listed.id, variant.name)
    for listed in families()
    if listed.id in FAMILIES  # and none that another test has registered
    for variant in listed.variants
    if variant.floor is not None and variant.optimum is not None
]


class Given:
    """A run whose agents are given: what ``evaluate_run`` needs of one."""

    label = "given"
    keeps_evaluations = False

    def __init__(self, family: TaskFamily, learners: dict[int, Any], n_envs: int = 1, points: int = 3) -> None:
        self._family, self._learners, self.seeds = family, learners, tuple(learners)
        self._facts: Any = {"n_envs": n_envs, "evaluation_points": points, "num_timesteps": 0, "wall_seconds": 0.0}

    def family(self) -> TaskFamily:
        return self._family

    def trained(self, seed: int, device: Any) -> Any:
        facts = {**self._facts, "family": self._family, "describe": lambda states: {}, "seed": seed}
        facts |= {"rollouts": None, "config": None, "label": lambda config: "given"}
        learner = self._learners[seed]
        return SimpleNamespace(learner=learner, params=privileged_params, **facts)

    def fingerprint(self) -> str:
        return ""

    def warn_if_unfinished(self, *_: Any) -> None:
        """Nothing was trained."""


def scored(run: Given, split: str = "test", n: int | None = None) -> Any:
    return evaluate_run(run, split, n).evaluation  # type: ignore[arg-type]


class Beside(MetaLearner):
    """A reference policy of several environments side by side, as an agent that adapts by gradient has them."""

    def __init__(self, reference: MetaLearner) -> None:
        self.initial, self.begin_episode, self.act = reference.initial, reference.begin_episode, reference.act  # type: ignore[method-assign]

    def initial(self, params: Params, n_tasks: int) -> State:
        raise AssertionError

    def adapt(self, params: Params, state: State, support: Any) -> State:
        return state


@pytest.mark.parametrize(
    ("name", "variant", "split"),
    [
        *((*each, "test") for each in REFERENCED),
        *(
            (f"metarl/{name}-v0", "pearl", split)
            for name in ("PointNavigation", "SparseSemicircle")
            for split in OTHERS
        ),
    ],
)
def test_the_optimum_as_an_agent_scores_1_and_the_floor_0(name: str, variant: str, split: str) -> None:
    family = make_family(name, variant)
    reference_policies, n = family.reference_policies(), min(20, len(held_out(family, split)))
    for reference, score in ((family.optimum, 1.0), (family.floor, 0.0)):
        agent = reference_policies[reference]
        run = Given(family, {3: agent, 8: agent}, points=2)
        evaluation = scored(run, split, n)
        assert evaluation.normalised.tolist() == [score] * 2
        assert [point.normalised_deterministic.value for point in evaluation.points] == [score] * 2
        assert {point.normalised.interval for point in evaluation.points} == {(score, score)}
        assert evaluation.trial_total.normalised.value == pytest.approx(score, abs=1e-12)
        assert evaluation.mean_of(0, 1).normalised.value == pytest.approx(score, abs=1e-12)


def test_every_family_with_floor_and_optimum_is_asked() -> None:
    assert len(REFERENCED) >= 11
    assert ("metarl/TabularMDP-v0", "rl2") in REFERENCED


@pytest.mark.parametrize("n_envs", [1, 3])
def test_references_play_every_environment_of_an_agent(n_envs: int) -> None:
    for reference, score in ((PEARL.optimum, 1.0), (PEARL.floor, 0.0)):
        evaluation = scored(Given(PEARL, {0: Beside(PEARL.reference_policies()[str(reference)])}, n_envs))
        assert evaluation.normalised.tolist() == [score] * 3
        assert evaluation.episodes == (0, n_envs, 2 * n_envs)
        assert len(set(evaluation.optimum.mean(1))) == 3  # other starts at every point


def test_agents_of_any_kind_and_seed_meet_the_same_starts() -> None:
    def starts(name: str, seed: int) -> np.ndarray:
        agent = agent_class(name)(PEARL, agent_class(name).presets["default"], seed=seed)
        tasks = PEARL.splits.test[:5]
        curve = adaptation_curve(
            agent.learner, agent.params, agent.family, tasks, points=2, n_envs=agent.n_envs, deterministic=False
        )
        # Of the first env: PEARL and RL² have no more.
        return np.stack([trajectory.observation[:, 0, 0, 0, :2].numpy() for trajectory in curve.trajectories])

    first = starts("maml", 0)
    assert len({row.tobytes() for row in first.reshape(-1, 2)}) == 10
    for name, seed in (("maml", 1), ("rl2", 2), ("pearl", 0), ("oracle", 5)):
        np.testing.assert_array_equal(starts(name, seed), first)


def test_a_tasks_streams_depend_on_its_part_and_its_number_alone() -> None:
    def keys(*arguments: Any, family: TaskFamily = PEARL) -> torch.Tensor:
        return evaluation_keys(family, *arguments)

    whole = keys("test", 9)
    assert torch.equal(keys("test", 4), whole[:4])
    assert torch.equal(keys("test", 9, 5)[::5], whole)  # env 0 is where an agent of one environment plays
    assert torch.equal(keys("test", 4, 3).unflatten(0, (4, 3)), keys("test", 9, 5).unflatten(0, (9, 5))[:4, :3])
    assert torch.equal(keys("test", 9, family=with_task(PEARL)), whole)
    every = torch.cat([keys(part, 50, 4) for part in ("val", "test", "ood")])
    every = torch.cat([every, keys("test", 50, 4, family=make_family("metarl/PointNavigation-v0", "maml"))])
    assert len({tuple(row) for row in every.tolist()}) == len(every)
    assert not set(map(tuple, stream_keys(50, 0, "train", 0).tolist())) & set(map(tuple, every.tolist()))


def test_fewer_tasks_score_as_they_do_among_all() -> None:
    run = Given(PEARL, {0: PEARL.reference_policies()["stand still"]})
    few, every = scored(run, n=7), scored(run)
    for name in ("returns", "floor", "optimum"):
        np.testing.assert_array_equal(getattr(few, name), getattr(every, name)[..., :7])


def test_players_beside_agents_play_where_they_do() -> None:
    agent = scored(Given(PEARL, {4: PEARL.reference_policies()["stand still"]}))
    (reference,) = reference_evaluations(["stand still"], [agent], PEARL, PEARL.splits.test)
    for name in ("returns", "floor", "optimum"):
        np.testing.assert_array_equal(getattr(reference, name), getattr(agent, name))
    # An agent that has 20 envs a task is scored after 0, 20 and 40 episodes; the reference's streams are its own.
    wide = scored(Given(PEARL, {4: Beside(PEARL.reference_policies()["stand still"])}, n_envs=20))
    (best,) = reference_evaluations([str(PEARL.optimum)], [wide], PEARL, PEARL.splits.test)
    assert best.episodes == (0, 20, 40)
    assert best.normalised is not None
    assert best.normalised.tolist() == [1.0] * 3


def test_a_reference_that_remembers_plays_every_episode_as_its_first() -> None:
    bandit = make_family("metarl/BernoulliBandit-v0", "k5")
    family, tasks = copy(bandit), bandit.splits.test[:200]
    learnt = adaptation_curve(
        family.reference_policies()["greedy"], privileged_params, family, tasks, points=20, deterministic=False
    ).returns
    first = reference_returns(family, "greedy", tasks, episodes=range(20))
    assert first is not None
    np.testing.assert_array_equal(first[0], learnt[0])
    assert learnt[10:].mean() > 0.65
    assert first.mean() == pytest.approx(0.5, abs=0.03)


def test_a_film_shows_an_episode_that_is_scored() -> None:
    tasks, reference = PEARL.splits.test[:3], PEARL.reference_policies()["stand still"]
    shown = render_policy(reference, privileged_params(tasks), PEARL, tasks, points=2, n_envs=1)
    curve = adaptation_curve(reference, privileged_params, PEARL, tasks, points=2)
    for histories, trajectory in zip(shown.histories, curve.trajectories, strict=True):
        starts = np.stack([history[0]["position"] for history in histories])
        np.testing.assert_array_equal(starts, trajectory.observation[:, 0, 0, 0].numpy())


def test_an_optimum_that_luck_can_beat_is_not_called_exact() -> None:
    exact: Callable[[str, str], bool] = lambda name, variant: make_family(name, variant).exact_optimum  # noqa: E731
    assert {variant for name, variant in REFERENCED if not exact(name, variant)} == {"promp", "reversed", "target"}
    evaluation = scored(Given(PEARL, {0: PEARL.reference_policies()["stand still"]}))
    assert evaluation.exact_optimum
