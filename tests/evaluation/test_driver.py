"""The driver on long trials: chunks of tasks, what is kept, a wiped memory, beliefs, policies that know their task."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from metarl.core.errors import MetaRLError
from metarl.core.learner import MetaLearner
from metarl.core.trajectory import Trajectory
from metarl.core.types import Params, State
from metarl.evaluation import driver
from metarl.evaluation.driver import Curve, adaptation_curve, chunk_of
from metarl.family import make_family
from metarl.family.policy_returns import policy_returns
from metarl.family.reference_policies import privileged_params
from metarl.family.views.observed import with_task

FAMILY = make_family("metarl/BernoulliBandit-v0", "k5")
TASKS = FAMILY.splits.test[:23]


@pytest.fixture
def learner(remember: ModuleType) -> MetaLearner:
    return remember.Counting(5)


def curve_of(learner: MetaLearner, params: Any = None, points: int = 12, **options: Any) -> Curve:
    return adaptation_curve(learner, {} if params is None else params, FAMILY, TASKS, points=points, **options)


@pytest.mark.parametrize("chunk", [1, 5, 22])
def test_chunks_change_nothing(learner: MetaLearner, chunk: int) -> None:
    whole, parts = curve_of(learner), curve_of(learner, chunk=chunk)
    assert whole.returns.std() > 0
    for name in ("returns", "deterministic", "beliefs"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    assert (parts.episodes, parts.adaptations) == (whole.episodes, whole.adaptations)
    for mine, there in zip(parts.trajectories, whole.trajectories, strict=True):
        torch.testing.assert_close(mine.reward, there.reward)
    for mine, there in zip(parts.states, whole.states, strict=True):
        torch.testing.assert_close(mine, there)


def test_a_family_of_heavy_environments_is_played_in_parts(
    learner: MetaLearner, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, batch = [], FAMILY.batch
    monkeypatch.setattr(FAMILY, "batch", lambda tasks, *rest: made.append(len(tasks)) or batch(tasks, *rest))
    whole = curve_of(learner, points=3)
    monkeypatch.setattr(type(FAMILY), "most_envs", 10)
    parts = curve_of(learner, points=3)
    assert made == [23, 10, 10, 3]
    np.testing.assert_array_equal(parts.returns, whole.returns)
    assert chunk_of(with_task(FAMILY), 30) == 1  # a task at the least


def test_chunks_keep_the_lanes_of_a_task_together() -> None:
    class ByLane(MetaLearner):
        """Adapts to the mean reward of its envs, and says so."""

        online = False

        def initial(self, params: Params, n_tasks: int) -> State:
            return {"mean": torch.zeros(n_tasks, 1)}

        def act(self, params: Params, state: State, observation: Any, *_: Any, **__: Any) -> Any:
            return torch.zeros(observation.shape[:2], dtype=torch.long), {}

        def adapt(self, params: Params, state: State, support: Trajectory) -> State:
            return {"mean": support.reward.flatten(1).mean(1, keepdim=True)}

        def belief(self, params: Params, state: State) -> torch.Tensor:
            return state["mean"]

    whole, parts = (curve_of(ByLane(), points=2, n_envs=4, deterministic=False, chunk=n) for n in (50, 3))
    np.testing.assert_array_equal(parts.returns, whole.returns)
    assert whole.beliefs is not None
    # Before each point and after the last, for learners that adapt afterwards too.
    np.testing.assert_allclose(whole.beliefs[:, :, 0], [np.zeros(23), *whole.returns], rtol=1e-6)


@pytest.mark.parametrize("chunk", [4, 100])
def test_of_many_tasks_the_first_are_kept(learner: MetaLearner, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = curve_of(learner)
    monkeypatch.setattr(driver, "KEPT", 10)
    few = curve_of(learner, chunk=chunk)
    np.testing.assert_array_equal(few.returns, whole.returns)
    assert {trajectory.n_tasks for trajectory in few.trajectories} == {10}
    np.testing.assert_array_equal(few.trajectories[3].returns[:, 0, 0], whole.returns[3, :10])
    torch.testing.assert_close(few.states[5]["wins"], whole.states[5]["wins"][:10])
    assert few.beliefs is not None
    assert whole.beliefs is not None
    np.testing.assert_array_equal(few.beliefs, whole.beliefs[:, :10])


def test_beliefs_are_known_before_each_episode_and_after_the_last(learner: MetaLearner) -> None:
    curve = curve_of(learner)
    assert curve.beliefs is not None
    assert curve.beliefs.shape == (13, 23, 5)
    assert (curve.beliefs[0] == 0.5).all()
    for belief, state in zip(curve.beliefs, curve.states, strict=False):
        np.testing.assert_allclose(belief, learner.belief({}, state))
    assert (curve.beliefs[12] != curve.beliefs[11]).any(axis=1).all()  # every pull is taken in, the last one too


def test_a_learner_without_a_belief_has_none(learner: MetaLearner) -> None:
    assert MetaLearner.belief(learner, {}, {}) is None
    assert curve_of(FAMILY.reference_policies()["best arm"], privileged_params).beliefs is None


def test_a_wiped_memory_earns_in_later_episodes_what_the_first_earns(learner: MetaLearner) -> None:
    tasks = FAMILY.splits.test
    options: Any = {"points": 20, "deterministic": False}
    ordinary = adaptation_curve(learner, {}, FAMILY, tasks, **options)
    wiped = adaptation_curve(learner, {}, FAMILY, tasks, ablation="wiped", **options)
    np.testing.assert_array_equal(wiped.returns[0], ordinary.returns[0])
    assert ordinary.returns[10:].mean() > 0.7
    assert wiped.returns[1:].mean() == pytest.approx(0.5, abs=0.02)
    assert all(bool((state["wins"] == 1).all()) for state in wiped.states)
    assert wiped.beliefs is None  # it knows nothing before any episode


def test_a_shuffled_support_is_that_of_another_task() -> None:
    class Parrot(MetaLearner):
        """Plays the arm that won most in its support."""

        online = False

        def initial(self, params: Params, n_tasks: int) -> State:
            return {"best": torch.zeros(n_tasks), "seen": torch.zeros(n_tasks)}

        def act(self, params: Params, state: State, observation: Any, noise: Any, *_: Any, **__: Any) -> Any:
            best = state["best"][:, None].expand(observation.shape[:2]).long()
            return torch.where(state["seen"][:, None] > 0, best, torch.arange(observation.shape[1]) % 5), {}

        def adapt(self, params: Params, state: State, support: Trajectory) -> State:
            won = [support.reward.flatten(1)[:, arm::5].sum(1) for arm in range(5)]
            return {"best": torch.stack(won).argmax(0), "seen": state["seen"] + 1}

    options: Any = {"points": 2, "n_envs": 500, "deterministic": False}
    ordinary, shuffled = (curve_of(Parrot(), ablation=ablation, **options) for ablation in (None, "shuffled"))
    np.testing.assert_array_equal(shuffled.returns[0], ordinary.returns[0])
    best = ordinary.states[1]["best"]
    np.testing.assert_allclose(ordinary.returns[1], TASKS.vector.max(1), atol=0.1)
    assert len(set(best.tolist())) > 1
    assert torch.equal(shuffled.states[1]["best"], best.roll(11))
    assert shuffled.returns[1].mean() < ordinary.returns[1].mean() - 0.1
    assert shuffled.beliefs is None


def test_players_that_know_their_task_are_told_that_of_their_chunk() -> None:
    best = TASKS.vector.max(1)
    means = [
        curve_of(
            FAMILY.reference_policies()["best arm"], privileged_params, points=300, deterministic=False, chunk=chunk
        ).returns.mean(0)
        for chunk in (7, 100)
    ]
    np.testing.assert_array_equal(*means)
    assert np.abs(means[0] - best).max() < 0.15
    assert means[0].mean() == pytest.approx(policy_returns(FAMILY, "best arm", TASKS, repeats=300).mean(), abs=0.02)


def test_nonsense_is_refused(learner: MetaLearner) -> None:
    with pytest.raises(MetaRLError, match="chunk=0"):
        curve_of(learner, chunk=0)

    class Offline(type(learner)):  # type: ignore[misc]
        online = False

    with pytest.raises(MetaRLError, match=r"Offline has no memory to wipe.*online"):
        curve_of(Offline(5), ablation="wiped")
    with pytest.raises(MetaRLError, match="takes data in while acting"):
        curve_of(learner, ablation="shuffled")
    with pytest.raises(MetaRLError, match="one task alone"):
        curve_of(Offline(5), ablation="shuffled", chunk=11)
    with pytest.raises(MetaRLError, match="allowed are wiped, shuffled"):
        curve_of(learner, ablation="wipe")
