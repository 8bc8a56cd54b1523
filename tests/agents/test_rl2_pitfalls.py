"""What reaches RL²'s memory and when: the mistakes that other implementations made, each with its test."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor

from metarl.adapt.memory.registry import memory_names
from metarl.agents.rl2 import RL2, RL2Config
from metarl.agents.rl2.learner import START
from metarl.algorithm.adapted_policy import AdaptedPolicy
from metarl.core.actions import ActionMap
from metarl.core.distributions import Mixed, SquashedGaussian
from metarl.core.random import stream_keys
from metarl.core.trajectory import Trajectory
from metarl.core.types import Outputs, State
from metarl.envs.engine.torch import TorchFamily
from metarl.evaluation.driver import adaptation_curve
from metarl.rollout.rollout import rollout
from metarl.tasks import Tasks

Families = Callable[[str], TorchFamily]
SMALL = RL2Config(tasks=8, width=8, embedding=5, head=(4,), epochs=1, minibatches=2, normalise_observations=True)
memories = pytest.mark.parametrize("memory", memory_names())


def agent_of(family: TorchFamily | str, **changes: Any) -> RL2:
    """An agent away from the special values of an initialisation, whose inputs are standardised by what it has seen."""
    agent, generator = RL2(family, replace(SMALL, **changes)), torch.Generator().manual_seed(1)
    agent.params = {
        name: value if name.startswith("moments.") else value + 0.3 * torch.randn(value.shape, generator=generator)
        for name, value in agent.params.items()
    }
    agent.params = agent.learner.inputs.update_statistics(agent.params, agent.collect())
    agent.iteration += 1
    return agent


def replayed(agent: RL2, trajectory: Trajectory) -> tuple[Outputs, State]:
    return agent.learner.replay(agent.params, agent.learner.initial(agent.params, trajectory.n_tasks), trajectory)


def at_last_step(trajectory: Trajectory, episode: int, value: Tensor, new: Tensor) -> Tensor:
    """``value`` with ``new`` at the last step of every trial's episode."""
    last = (trajectory.lengths[:, 0, episode] - 1)[:, None]
    changed = value.clone()
    for task, step in enumerate(last[:, 0].tolist()):
        changed[task, 0, episode, step] = new[task, 0, episode, step]
    return changed


# --- 1: the last transition of an episode reaches the memory ---

CHANGES: dict[str, Callable[[Trajectory], dict[str, Any]]] = {
    "action": lambda t: {"action": at_last_step(t, 0, t.action, -t.action)},
    "reward": lambda t: {"reward": at_last_step(t, 0, t.reward, t.reward + 1)},
    "end": lambda t: {
        name: at_last_step(t, 0, getattr(t, name), t.valid & False) for name in ("terminated", "truncated")
    },
    "final observation": lambda t: {
        "final_observation": torch.cat([t.final_observation[:, :, :1] + 1, t.final_observation[:, :, 1:]], 2)
    },
}


@memories
@pytest.mark.parametrize("what", CHANGES)
def test_how_an_episode_ends_reaches_the_next_one(ragged: Families, memory: str, what: str) -> None:
    agent = agent_of(ragged("gaussian"), memory=memory)
    data = agent.collect()
    before, _ = replayed(agent, data)
    after, _ = replayed(agent, replace(data, **CHANGES[what](data)))
    for name in ("mean", "value"):
        moved = (after[name] - before[name]).abs().reshape(*data.valid.shape, -1).amax(-1)
        assert (moved[:, 0, 1, 0] > 1e-5).all(), name
        # What comes earlier cannot know.
        assert not moved[:, 0, 0][data.valid[:, 0, 0]].any()


@memories
def test_what_the_last_step_paid_is_known_to_whoever_acts_next(ragged: Families, memory: str) -> None:
    """The same while acting: tasks that differ in nothing but what the last step of an episode pays."""
    agent = agent_of(ragged("gaussian"), memory=memory)
    learner, params, records = agent.learner, agent.params, []
    for pays in (-0.5, 0.5):
        batch = agent.family.batch(Tasks({"pays": [pays] * 8}), stream_keys(8, "twins"))
        data, _ = rollout(learner, params, learner.initial(params, 8), batch, n_envs=1, episodes=2)
        data = learner.with_log_probs_and_values(params, data)
        records.append((data.record["value"], data.action, data.valid))
    (values, actions, valid), (other_values, other_actions, other_valid) = records
    assert torch.equal(valid[:, :, 0], other_valid[:, :, 0])
    assert torch.equal(values[:, :, 0], other_values[:, :, 0])
    assert ((values - other_values)[:, 0, 1, 0].abs() > 1e-5).all()
    assert ((actions - other_actions)[:, 0, 1, 0].abs() > 1e-5).any(-1).all()


# --- 3: the memory lives for a trial ---


@memories
def test_a_trial_begins_with_nothing_and_an_episode_with_what_was_seen(ragged: Families, memory: str) -> None:
    agent = agent_of(ragged("categorical"), memory=memory)
    learner = agent.learner
    for _ in range(2):
        data, params = agent.collect(), agent.params
        fresh = learner.initial(params, SMALL.tasks)
        values = learner.policy(params, fresh, data.observation[:, :, :, 0].flatten(1, 2))["value"]
        apart = (data.record["value"][:, 0, :, 0] - values).abs()
        assert (apart[:, 0] < 1e-6).all()
        assert (apart[:, 1:] > 1e-5).all()
        agent.train_iteration()
        agent.iteration += 1


@memories
def test_an_evaluation_begins_with_nothing_and_remembers(ragged: Families, memory: str) -> None:
    agent = agent_of(ragged("categorical"), memory=memory)
    learner, params, tasks = agent.learner, agent.params, agent.family.splits.test
    found = adaptation_curve(learner, params, agent.family, tasks, points=agent.evaluation_points)
    assert len(found.states) == 3
    state = learner.initial(params, len(tasks))
    for point, (at_start, trajectory) in enumerate(zip(found.states, found.trajectories, strict=True)):
        for name in state.keys() - {START}:
            torch.testing.assert_close(at_start[name], state[name], msg=f"{name} before episode {point}")
        outputs, state = learner.replay(params, state, trajectory)
        recorded = learner.with_log_probs_and_values(params, trajectory).record["value"]
        torch.testing.assert_close(outputs["value"][trajectory.valid], recorded[trajectory.valid])


# --- 6 and 13: likelihoods, and the actions that the environment saw ---

ACTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "categorical": ("categorical", {}),
    "clipped": ("gaussian", {"initial_std": 2.0}),
    "squashed": ("gaussian", {"initial_std": 2.0, "squash": True}),
    "mixed": ("mixed", {}),
    "mixed, squashed": ("mixed", {"initial_std": 2.0, "squash": True}),
    "whole episodes": ("metarl/GridNavi-v0", {}),
    "one step": ("metarl/BernoulliBandit-v0", {}),
    "standing alone": ("gaussian", {"embedding": 0, "head": (), "normalise_observations": False}),
}


@memories
@pytest.mark.parametrize(("actions", "changes"), ACTIONS.values(), ids=ACTIONS)
def test_replay_gives_what_was_recorded(ragged: Families, memory: str, actions: str, changes: dict[str, Any]) -> None:
    agent = agent_of(actions if "/" in actions else ragged(actions), memory=memory, **changes)
    learner, params = agent.learner, agent.params
    before = learner.initial(params, SMALL.tasks)
    data, state = rollout(learner, params, before, agent.training_batch(), n_envs=1, episodes=3)
    data = learner.with_log_probs_and_values(params, data)
    outputs, after = replayed(agent, data)
    distribution = learner.distribution(outputs)
    normals = distribution.vector if isinstance(distribution, Mixed) else distribution
    assert isinstance(normals, SquashedGaussian) == ("squash" in changes)
    log_prob = distribution.log_prob(data.action)
    assert log_prob.shape == data.reward.shape  # summed over the dimensions of an action
    torch.testing.assert_close(log_prob[data.valid], data.record["log_prob"][data.valid], rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(outputs["value"][data.valid], data.record["value"][data.valid], rtol=1e-5, atol=1e-5)
    for name in state:
        torch.testing.assert_close(after[name], state[name], msg=name, rtol=1e-5, atol=1e-5)
    if actions == "gaussian":
        assert (data.action.abs() > 1)[data.valid].any() == ("squash" not in changes)


@memories
def test_the_memory_sees_the_action_that_was_done(ragged: Families, memory: str) -> None:
    """The environment clips; the likelihood is that of the action before."""
    agent = agent_of(ragged("gaussian"), memory=memory, initial_std=2.0)
    data = agent.collect()
    done = replace(data, action=data.action.clamp(-1, 1))
    assert not torch.equal(done.action, data.action)
    (outputs, state), (expected, expected_state) = replayed(agent, data), replayed(agent, done)
    assert all(torch.equal(value, expected[name]) for name, value in outputs.items())
    assert all(torch.equal(value, expected_state[name]) for name, value in state.items())
    drawn, clipped = (agent.learner.distribution(outputs).log_prob(each.action)[data.valid] for each in (data, done))
    assert not torch.allclose(drawn, clipped)


# --- adapting to an environment, and acting in one's own loop ---


class Recorder(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Writes down the episodes that are played in an environment."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.episodes: list[list[tuple[Any, ...]]] = []

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        self._seen, info = self.env.reset(**options)
        self.episodes.append([])
        return self._seen, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        outcome = self.env.step(action)
        self.episodes[-1].append((self._seen, action, *outcome[1:4]))
        self._seen = outcome[0]
        if outcome[2] or outcome[3]:
            self.episodes[-1].append((self._seen,))
        return outcome

    def trajectory(self) -> Trajectory:
        """The whole episodes, with the policy's actions for those of the environment."""
        from_env = ActionMap(self.action_space, "cpu", torch.float32).from_env
        return Trajectory.concatenate([self._trajectory(steps, from_env) for steps in self.episodes])

    @staticmethod
    def _trajectory(steps: list[tuple[Any, ...]], from_env: Callable[[Tensor], Tensor]) -> Trajectory:
        *steps, (final,) = steps
        columns = (np.stack(values) for values in zip(*steps, strict=True))
        observation, action, reward, terminated, truncated = (torch.as_tensor(x)[None, None, None] for x in columns)
        return Trajectory(
            observation=observation,
            action=from_env(action),
            reward=reward.float(),
            terminated=terminated,
            truncated=truncated,
            valid=torch.ones_like(terminated),
            final_observation=torch.as_tensor(final)[None, None, None],
            episode_noise=torch.zeros(1, 1, 0),
        )


PLAYED: dict[str, tuple[str, dict[str, Any]]] = {
    "discrete": ("metarl/GridNavi-v0", {}),
    "clipped": ("metarl/PointNavigation-v0", {"initial_std": 2.0}),
    "terminating": ("metarl/CartPole-v0", {}),
    "one step": ("metarl/BernoulliBandit-v0", {}),
}


@pytest.mark.parametrize(("family", "changes"), PLAYED.values(), ids=PLAYED)
def test_adapting_is_the_same_by_any_way(family: str, changes: dict[str, Any]) -> None:
    agent = agent_of(family, **changes)
    env, further = (Recorder(gymnasium.make(family)) for _ in range(2))
    policy = agent.adapt(env, episodes=3)
    assert policy.episodes == 3
    assert len(env.episodes) == 3
    recorded = agent.adapt(env.trajectory())
    assert_same_memory(recorded.state, policy.state)
    # And on from there: once more, and in a loop of one's own.
    policy = policy.adapt(env)
    assert policy.episodes == 4
    assert_same_memory(agent.adapt(env.trajectory()).state, policy.state)
    memory = played(policy, further, 2)
    assert_same_memory(memory, policy.adapt(further.trajectory()).state)
    assert_same_memory(memory, agent.adapt([env.trajectory(), further.trajectory()]).state)


def played(policy: AdaptedPolicy, env: gymnasium.Env[Any, Any], episodes: int) -> State:
    """A plain loop. What was seen last is shown too, so that the memory knows how the episode ended."""
    memory: State | None = None
    for episode in range(episodes):
        observation, _ = env.reset(seed=5 if episode == 0 else None)
        action, memory = policy.predict(observation, memory, episode_start=True)
        over = False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
            action, memory = policy.predict(observation, memory, episode_start=over, reward=float(reward))
    assert memory is not None
    return memory


def assert_same_memory(found: State, wanted: State) -> None:
    names = {name for name in wanted if name.startswith("memory.")}
    assert names
    for name in names:
        torch.testing.assert_close(found[name], wanted[name], msg=name, rtol=1e-5, atol=1e-5)


def test_without_a_reward_the_memory_stays_as_it_is() -> None:
    agent = agent_of("metarl/GridNavi-v0")
    observation, memory = np.zeros(2, np.float32), None
    for _ in range(3):
        _, memory = agent.predict(observation, memory, episode_start=False)
    assert memory is not None
    fresh = agent.learner.initial(agent.params, 1)
    assert_same_memory(memory, fresh)
    _, privileged_params = agent.predict(observation, memory, episode_start=False, reward=1.0)
    assert privileged_params is not None
    assert not torch.equal(privileged_params["memory.hidden"], fresh["memory.hidden"])
