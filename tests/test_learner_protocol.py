"""The protocol fits all three ways of adapting: three toy learners, one rollout, one evaluation driver."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import Tensor

from metarl.adapt.gradient import InnerLoop
from metarl.core.advantages import normalised_advantage
from metarl.core.distributions import ActionDistribution, distribution_of
from metarl.core.errors import MetaRLError
from metarl.core.learner import MetaLearner, keep_where
from metarl.core.random import stream_keys
from metarl.core.trajectory import Trajectory
from metarl.core.types import Noise, Outputs, Params, Transition
from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.evaluation.driver import Curve, adaptation_curve
from metarl.rollout.rollout import rollout
from metarl.tasks import Grid, Tasks, TaskSpace, Uniform

REWARD_SD = 0.5
HORIZON = 10


class HiddenDirection(TorchFamily):
    """Push along a hidden goal, in the sign that is seen: the reward is sign · (action · goal) and noise.

    An episode lasts as many steps as the task says; what is seen after its end is not a number.
    """

    tasks = TaskSpace(goal=Uniform(-1.0, 1.0, shape=(2,)), length=Grid(3.0, 12.0, 10))
    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Box(-1, 1, (2,), np.float32)
    horizon = HORIZON
    draws = (1, 2)

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        return {"sign": torch.sign(u[:, 0] - 0.5), "clock": torch.zeros_like(u[:, 0])}

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        noise = REWARD_SD * torch.erfinv(2 * u[:, 1] - 1) * 2**0.5
        reward = state["sign"] * (action * task["goal"]).sum(-1) + noise
        clock = state["clock"] + 1
        return {"sign": torch.sign(u[:, 0] - 0.5), "clock": clock}, reward, clock >= task["length"]

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return torch.where(state["clock"] > task["length"], torch.nan, state["sign"])[:, None]


class ByGradient(MetaLearner):
    """A policy-gradient step on a linear policy, its parameters stacked over tasks."""

    action_noise = Noise(2)
    inner = InnerLoop(step_size=0.7, halve_beyond=False, prefix="policy.")

    def init(self) -> Params:
        return {"policy.weight": torch.zeros(2, 1), "policy.log_std": torch.full((2,), -0.7)}

    def initial(self, params: Params, n_tasks: int) -> State:
        return self.inner.start(params, n_tasks)

    def policy(self, params: Params, state: State, observation: Tensor) -> Outputs:
        mean = observation @ state["policy.weight"].mT
        return {"mean": mean, "log_std": state["policy.log_std"][:, None].expand_as(mean)}

    def distribution(self, outputs: Outputs) -> ActionDistribution:
        return distribution_of(outputs)

    def adapt(self, params: Params, state: State, support: Trajectory) -> State:
        support = support.filled()
        advantage = normalised_advantage(support.reward, support.valid)

        def loss(fast: Params) -> tuple[Tensor, Outputs]:
            outputs, _ = self.replay(params, fast, support)
            log_prob = self.distribution(outputs).log_prob(support.action)
            surrogate = torch.exp(log_prob - log_prob.detach()) * advantage
            return -(surrogate * support.valid).flatten(1).sum(1) / support.valid.flatten(1).sum(1), {}

        return self.inner.step(params, state, loss)[0]


class ByMemory(MetaLearner):
    """The running mean of sign · reward · action points along the goal; the policy follows it."""

    online = True
    action_noise = Noise(2)

    def init(self) -> Params:
        return {"gain": torch.tensor(3.0), "log_std": torch.full((2,), -0.7)}

    def initial(self, params: Params, n_tasks: int) -> State:
        return {"count": torch.zeros(n_tasks, 1), "mean": torch.zeros(n_tasks, 2)}

    def policy(self, params: Params, state: State, observation: Tensor) -> Outputs:
        mean = observation * (params["gain"] * state["mean"])[:, None]
        return {"mean": mean, "log_std": params["log_std"].expand_as(mean)}

    def distribution(self, outputs: Outputs) -> ActionDistribution:
        return distribution_of(outputs)

    def observe(self, params: Params, state: State, transition: Transition) -> State:
        signal = (transition.observation * transition.reward[..., None] * transition.action)[:, 0]
        count = state["count"] + 1
        return {"count": count, "mean": state["mean"] + (signal - state["mean"]) / count}


class ByInference(MetaLearner):
    """Bayesian linear regression of the reward on sign · action: a Gaussian posterior over the goal, drawn from as an
    episode starts. The state holds its natural parameters, which add up."""

    action_noise = Noise(2)
    episode_noise = Noise(2)

    def init(self) -> Params:
        return {"log_precision": torch.tensor(1.0), "gain": torch.tensor(2.0), "log_std": torch.full((2,), -0.7)}

    def initial(self, params: Params, n_tasks: int) -> State:
        precision = (params["log_precision"].exp() * torch.eye(2)).expand(n_tasks, 2, 2)
        return {"precision": precision, "evidence": torch.zeros(n_tasks, 2), "goal": torch.zeros(n_tasks, 2)}

    def begin_episode(self, params: Params, state: State, noise: Tensor) -> State:
        covariance = torch.linalg.inv(state["precision"])
        spread = torch.linalg.cholesky(covariance) @ noise[..., None]
        return {**state, "goal": (covariance @ state["evidence"][..., None] + spread)[..., 0]}

    def policy(self, params: Params, state: State, observation: Tensor) -> Outputs:
        mean = observation * (params["gain"] * state["goal"])[:, None]
        return {"mean": mean, "log_std": params["log_std"].expand_as(mean)}

    def distribution(self, outputs: Outputs) -> ActionDistribution:
        return distribution_of(outputs)

    def adapt(self, params: Params, state: State, support: Trajectory) -> State:
        support = support.filled()
        feature = (support.observation * support.action.clamp(-1, 1)).flatten(1, 3)
        reward = support.reward.flatten(1)[..., None]
        return {
            **state,
            "precision": state["precision"] + feature.mT @ feature / REWARD_SD**2,
            "evidence": state["evidence"] + (feature.mT @ reward)[..., 0] / REWARD_SD**2,
        }


Toy = ByGradient | ByMemory | ByInference
LEARNERS: list[Toy] = [ByGradient(), ByMemory(), ByInference()]
three_ways = pytest.mark.parametrize("learner", LEARNERS, ids=["gradient", "memory", "inference"])


def tasks(n: int) -> Tasks:
    return HiddenDirection.tasks.sample(stream_keys(n, "tasks"))


def curve_of(learner: Toy, n_tasks: int = 60, points: int = 5, **options: Any) -> Curve:
    n_envs = 1 if learner.online else 4
    params = learner.init()
    return adaptation_curve(learner, params, HiddenDirection(), tasks(n_tasks), points=points, n_envs=n_envs, **options)


@dataclass
class Play:
    """Three episodes after a first adaptation, recorded, and the states before and after."""

    params: Params
    before: State
    trajectory: Trajectory
    after: State


def play(learner: Toy, n_tasks: int = 12) -> Play:
    n_envs = 1 if learner.online else 2
    keys = stream_keys(n_tasks * n_envs, "play")
    batch = HiddenDirection().batch(tasks(n_tasks).repeat(n_envs), keys)
    params = learner.init()
    first, state = rollout(learner, params, learner.initial(params, n_tasks), batch, n_envs=n_envs)
    before = state if learner.online else learner.adapt(params, state, first)
    trajectory, after = rollout(learner, params, before, batch, n_envs=n_envs, episodes=3, first_episode=1)
    assert len(trajectory.lengths.unique()) > 3  # episodes of different length
    return Play(params, before, trajectory, after)


# --- each adapts ---


@three_ways
def test_each_adapts(learner: Toy) -> None:
    curve, batch = curve_of(learner), tasks(60)
    assert curve.deterministic is not None
    # The best is to push with all force along both axes, as long as the episode lasts.
    optimum = np.abs(batch.values["goal"]).sum(1) * np.minimum(batch.values["length"], HORIZON)
    share = curve.returns.mean(1) / optimum.mean()
    quiet = curve.deterministic.mean(1) / optimum.mean()
    # Adapting online begins in the first episode, otherwise there is nothing to go by in it.
    assert share[0] < (0.45 if learner.online else 0.1)
    assert abs(quiet[0]) < 0.1
    assert share[1] > share[0] + 0.2
    assert share[-1] > max(0.7, share[1])
    assert quiet[-1] > 0.7


@three_ways
def test_what_was_learnt_on_one_task_is_no_use_on_another(learner: Toy) -> None:
    """The control: it is the task that they adapt to."""
    curve, batch = curve_of(learner), tasks(60)
    n_envs = curve.trajectories[0].n_envs
    other = Tasks({**batch.values, "goal": -batch.values["goal"]}).repeat(n_envs)
    environments = HiddenDirection().batch(other, stream_keys(60 * n_envs, "other"))
    t, _ = rollout(learner, learner.init(), curve.states[-1], environments, n_envs=n_envs)
    assert t.returns.mean() < -0.8 * curve.returns[-1].mean()


# --- the driver ---


@three_ways
def test_a_point_of_the_curve_scores_its_own_episodes(learner: Toy) -> None:
    curve = curve_of(learner, n_tasks=7, points=3)
    n_envs = curve.trajectories[0].n_envs
    assert curve.episodes == (0, n_envs, 2 * n_envs)
    assert curve.adaptations == (0, 1, 2)
    assert curve.returns.shape == (3, 7)
    for returns, t, state in zip(curve.returns, curve.trajectories, curve.states, strict=True):
        np.testing.assert_allclose(returns, t.returns.mean((1, 2)))
        start = learner.begin_episode(learner.init(), state, t.episode_noise[:, 0])
        outputs, _ = learner.replay(learner.init(), start, t)
        torch.testing.assert_close(
            learner.distribution(outputs).log_prob(t.action)[t.valid], t.record["log_prob"][t.valid]
        )


@three_ways
def test_episodes_without_noise_are_no_interaction(learner: Toy) -> None:
    with_extra, without = (curve_of(learner, 7, 3, deterministic=quiet) for quiet in (True, False))
    assert without.deterministic is None
    np.testing.assert_array_equal(with_extra.returns, without.returns)


def test_a_memory_starts_fresh_and_takes_every_transition_in_once() -> None:
    learner = ByMemory()
    curve = curve_of(learner, n_tasks=8, points=3)
    signals: list[list[Tensor]] = [[] for _ in range(8)]
    for t, state in zip(curve.trajectories, curve.states, strict=True):
        for task, seen in enumerate(signals):
            assert state["count"][task] == len(seen)
            torch.testing.assert_close(state["mean"][task], torch.stack(seen).mean(0) if seen else torch.zeros(2))
            for step in range(int(t.lengths[task, 0, 0])):  # the last one included
                seen.append(t.observation[task, 0, 0, step] * t.reward[task, 0, 0, step] * t.action[task, 0, 0, step])


def test_a_posterior_is_the_prior_and_every_transition_once() -> None:
    learner = ByInference()
    curve = curve_of(learner, n_tasks=8, points=3)
    precision, evidence = torch.e * torch.eye(2).repeat(8, 1, 1), torch.zeros(8, 2)
    for t, state in zip(curve.trajectories, curve.states, strict=True):
        torch.testing.assert_close(state["precision"], precision)
        torch.testing.assert_close(state["evidence"], evidence)
        for task, env, episode, step in t.valid.nonzero().tolist():
            at = (task, env, episode, step)
            feature = t.observation[at] * t.action[at].clamp(-1, 1)
            precision[task] += torch.outer(feature, feature) / REWARD_SD**2
            evidence[task] += feature * t.reward[at] / REWARD_SD**2


def test_a_curve_has_a_point() -> None:
    with pytest.raises(MetaRLError, match="points=0"):
        curve_of(ByMemory(), points=0)


# --- replay and act agree ---


@three_ways
def test_replay_gives_the_recorded_log_probabilities(learner: Toy) -> None:
    played = play(learner)
    t = played.trajectory
    outputs, _ = learner.replay(played.params, played.before, t)
    assert outputs["mean"].shape == t.action.shape
    log_prob = learner.distribution(outputs).log_prob(t.action)
    torch.testing.assert_close(log_prob[t.valid], t.record["log_prob"][t.valid], rtol=1e-5, atol=1e-5)
    # Not so from another state: the test can tell.
    fresh, _ = learner.replay(played.params, learner.initial(played.params, t.n_tasks), t)
    assert not torch.allclose(learner.distribution(fresh).log_prob(t.action)[t.valid], t.record["log_prob"][t.valid])


@three_ways
def test_replay_ends_with_the_state_that_the_rollout_ended_with(learner: Toy) -> None:
    played = play(learner)
    _, after = learner.replay(played.params, played.before, played.trajectory)
    for name, value in played.after.items():
        torch.testing.assert_close(after[name], value)


def test_adapting_online_is_the_state_that_replay_ends_with() -> None:
    learner = ByMemory()
    played = play(learner)
    adapted = learner.adapt(played.params, played.before, played.trajectory)
    for name, value in played.after.items():
        torch.testing.assert_close(adapted[name], value)
    with pytest.raises(MetaRLError, match=r"ByMemory adapts online and has one env a task, got n_envs=2.*envs\(1\)"):
        learner.adapt(played.params, played.before, play(ByGradient()).trajectory)


# --- padding does not leak ---


def outer_loss(learner: Toy, params: Params, support: Trajectory, later: Trajectory) -> Tensor:
    """Through adapting on one recorded trajectory to the likelihood of the next."""
    state = learner.initial(params, support.n_tasks)
    state = learner.adapt(params, state, support)
    outputs, _ = learner.replay(params, state, later)
    log_prob = learner.distribution(outputs).log_prob(later.filled().action)
    return (log_prob * later.filled().reward).masked_fill(~later.valid, 0).sum()


def gradient(learner: Toy, support: Trajectory, later: Trajectory) -> Params:
    params = {name: value.clone().requires_grad_() for name, value in learner.init().items()}
    loss = outer_loss(learner, params, support, later)
    return dict(zip(params, torch.autograd.grad(loss, list(params.values())), strict=True))


def with_padding(t: Trajectory, rubbish: float) -> Trajectory:
    """The same with rubbish in every number of the padding."""

    def spoil(value: Tensor) -> Tensor:
        return torch.where(t.valid.reshape(*t.valid.shape, *[1] * (value.ndim - 4)), value, rubbish)

    return replace(
        t,
        observation=spoil(t.observation),
        action=spoil(t.action),
        reward=spoil(t.reward),
        record={name: spoil(value) for name, value in t.record.items()},
    )


@pytest.mark.parametrize("rubbish", [float("nan"), float("inf"), 1e30])
@three_ways
def test_a_diverged_row_under_the_mask_leaves_the_gradient_as_it_is(learner: Toy, rubbish: float) -> None:
    played = play(learner)
    valid = played.trajectory.valid.clone()
    valid[3, 0, 1] = False  # an episode that is all padding
    clean = replace(played.trajectory, valid=valid).filled()
    expected, spoilt = gradient(learner, clean, clean), gradient(learner, *[with_padding(clean, rubbish)] * 2)
    for name, value in expected.items():
        assert spoilt[name].isfinite().all(), name
        torch.testing.assert_close(spoilt[name], value)
    assert any((value != 0).any() for value in expected.values())


@three_ways
def test_the_gradient_has_no_part_from_a_rows_padding(learner: Toy) -> None:
    """One task alone, its padding cut off, gives the same as the task among longer ones."""
    t = play(learner).trajectory
    shortest = int(t.lengths[:, 0, 0].argmin())
    alone = t.tasks([shortest])
    steps = alone.n_steps - int((~alone.valid).all(0).all(0).all(0).sum())
    assert steps < t.n_steps
    cut = alone._map(lambda value: value[:, :, :, :steps])
    whole, short = gradient(learner, alone, alone), gradient(learner, cut, cut)
    for name, value in whole.items():
        torch.testing.assert_close(short[name], value)


def test_the_state_of_rows_that_have_ended_stays() -> None:
    old = {"a": torch.tensor([1.0, 2.0, 3.0]), "b": torch.zeros(3, 2, 2)}
    new = {"a": torch.tensor([9.0, float("nan"), 9.0]), "b": torch.full((3, 2, 2), float("inf"))}
    kept = keep_where(torch.tensor([True, False, False]), new, old)
    assert kept["a"].tolist() == [9, 2, 3]
    assert kept["b"][1:].eq(0).all()
    assert kept["b"][0].isinf().all()


# --- what a learner does not define ---


class Silent(MetaLearner):
    """Defines nothing but its state."""

    def initial(self, params: Params, n_tasks: int) -> State:
        return {"nothing": torch.zeros(n_tasks)}


@pytest.mark.parametrize(
    ("verb", "call"),
    [
        ("adapt", lambda learner: learner.adapt({}, {}, None)),
        ("query", lambda learner: learner.query({}, {}, torch.zeros(1, 1))),
        ("policy", lambda learner: learner.act({}, {}, torch.zeros(1, 1), torch.zeros(1, 1))),
        ("observe", lambda learner: learner.observe({}, {}, None)),
        ("distribution", lambda learner: learner.distribution({})),
    ],
)
def test_a_verb_that_a_learner_does_not_define_is_named(verb: str, call: Callable[[MetaLearner], object]) -> None:
    with pytest.raises(MetaRLError, match=f"Silent has no '{verb}'"):
        call(Silent())


def test_the_start_of_an_episode_changes_nothing_unless_a_learner_says_so() -> None:
    state = Silent().initial({}, 2)
    assert Silent().begin_episode({}, state, torch.zeros(2, 0)) is state
