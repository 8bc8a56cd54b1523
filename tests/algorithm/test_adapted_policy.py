"""The adapted policy: predict as in Stable-Baselines3, and adapting to environments and to recorded trajectories."""

from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import Tensor

from metarl import Episode
from metarl.agents.pearl import PEARL, PEARLConfig
from metarl.algorithm.adapted_policy import AdaptedPolicy
from metarl.core.distributions import ActionDistribution, distribution_of
from metarl.core.errors import MetaRLError
from metarl.core.learner import MetaLearner
from metarl.core.random import gymnasium_keys, stream_keys
from metarl.core.trajectory import Trajectory
from metarl.core.types import Noise, Outputs, Params, State, Transition
from metarl.family import TaskFamily, make_family
from metarl.rollout.rollout import rollout
from metarl.tasks import Tasks

ID, GOAL = "metarl/PointNavigation-v0", (0.25, -0.125)


class Offset(MetaLearner):
    """Not online: the mean is half the observation and a shift, to which ``adapt`` adds a tenth of the mean reward."""

    action_noise = Noise(2)

    def initial(self, params: Params, n_tasks: int) -> State:
        return {"shift": torch.zeros(n_tasks, 1)}

    def policy(self, params: Params, state: State, observation: Tensor) -> Outputs:
        mean = 0.5 * observation + state["shift"][:, None]
        return {"mean": mean, "log_std": torch.full_like(mean, -1.0)}

    def distribution(self, outputs: Outputs) -> ActionDistribution:
        return distribution_of(outputs)

    def adapt(self, params: Params, state: State, support: Trajectory) -> State:
        return {"shift": state["shift"] + 0.1 * support.reward[support.valid].mean()}


class Draws(Offset):
    """Not online, and draws its shift anew at the start of every episode, as PEARL draws z."""

    episode_noise = Noise(1)

    def begin_episode(self, params: Params, state: State, noise: Tensor) -> State:
        return {"shift": 0.1 * noise}  # so little that no action is clipped


class Remembers(MetaLearner):
    """Online: counts transitions, sums rewards and episode ends, and keeps the last transition."""

    online = True
    names: ClassVar[Mapping[str, int]] = {"observation": 2, "action": 2, "next_observation": 2}

    def initial(self, params: Params, n_tasks: int) -> State:
        numbers = {name: torch.zeros(n_tasks) for name in ("steps", "reward", "ends", "episodes")}
        return {**numbers, **{name: torch.zeros(n_tasks, size) for name, size in self.names.items()}}

    def begin_episode(self, params: Params, state: State, noise: Tensor) -> State:
        return {**state, "episodes": state["episodes"] + 1}

    def policy(self, params: Params, state: State, observation: Tensor) -> Outputs:
        return {"mean": 0.1 * (1 + state["steps"])[:, None, None].expand_as(observation)}

    def act(
        self, params: Params, state: State, observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        return self.policy(params, state, observation)["mean"], {}

    def observe(self, params: Params, state: State, transition: Transition) -> State:
        return {
            "steps": state["steps"] + 1,
            "reward": state["reward"] + transition.reward[:, 0],
            "ends": state["ends"] + (transition.terminated | transition.truncated)[:, 0],
            "episodes": state["episodes"],
            **{name: getattr(transition, name)[:, 0] for name in self.names},
        }


@pytest.fixture(scope="module")
def family() -> TaskFamily:
    return make_family(ID)


def policy_of(learner: MetaLearner, family: TaskFamily, seed: int = 0) -> AdaptedPolicy:
    return AdaptedPolicy(learner, {}, learner.initial({}, 1), family, seed)


def make_env(**options: Any) -> gymnasium.Env[Any, Any]:
    return gymnasium.make(ID, **{"task": {"goal": GOAL}, **options})


def seen(x: float = 0.2, y: float = -0.4) -> np.ndarray:
    return np.array([x, y], np.float32)


# --- predict ---


def test_one_observation_gives_one_action_of_the_environments_own_space(family: TaskFamily) -> None:
    policy = policy_of(Offset(), family)
    action, memory = policy.predict(seen(), deterministic=True)
    assert (action.shape, memory) == ((2,), None)
    # The mode is .5 · (.2, -.4) in [-1, 1], a tenth of it in Box(-.1, .1).
    np.testing.assert_allclose(action, [0.01, -0.02], rtol=1e-6)
    far, _ = policy.predict(seen(50, -50), deterministic=True)
    np.testing.assert_allclose(far, [0.1, -0.1])
    assert family.action_space.contains(far)


def test_a_batch_gives_an_action_each(family: TaskFamily) -> None:
    policy = policy_of(Offset(), family)
    batch = np.stack([seen(), seen(0.6, 0), seen(-0.2, 0.2)])
    actions, _ = policy.predict(batch, deterministic=True)
    assert actions.shape == (3, 2)
    np.testing.assert_allclose(actions, 0.05 * batch, rtol=1e-6)
    assert policy.predict(batch[:1], deterministic=True)[0].shape == (1, 2)  # a batch of one stays a batch
    noisy, _ = policy.predict(np.zeros((64, 2), np.float32))
    assert len(np.unique(noisy[np.abs(noisy) < 0.1])) > 100  # every row its own noise


def test_exploration_noise_is_new_at_every_call_and_the_seeds(family: TaskFamily) -> None:
    def played(seed: int) -> np.ndarray:
        policy = policy_of(Offset(), family, seed)
        return np.stack([policy.predict(seen(0, 0))[0] for _ in range(4)])

    actions = played(3)
    assert len(np.unique(actions)) == 8
    np.testing.assert_array_equal(actions, played(3))
    assert not np.any(actions == played(4))


def test_an_adapted_policy_explores_anew(family: TaskFamily) -> None:
    before = policy_of(Offset(), family)
    once = before.adapt(gymnasium.make(ID))
    policies = before, once, once.adapt(gymnasium.make(ID))
    drawn = [policy.predict(seen(0, 0))[0] - policy.predict(seen(0, 0), deterministic=True)[0] for policy in policies]
    assert len(np.unique(np.round(drawn, 6))) == 6


@pytest.mark.parametrize("shape", [(3,), (5, 3), (), (2, 2, 2)])
def test_observations_of_another_shape_are_refused(family: TaskFamily, shape: tuple[int, ...]) -> None:
    with pytest.raises(MetaRLError, match=r"this policy takes \(2,\)"):
        policy_of(Offset(), family).predict(np.zeros(shape, np.float32))


def test_what_is_drawn_as_an_episode_starts_stays_for_the_episode(family: TaskFamily) -> None:
    policy = policy_of(Draws(), family)
    shifts, memory = [], None
    for step in range(6):
        action, memory = policy.predict(np.zeros(2, np.float32), memory, np.array([step in (0, 4)]), deterministic=True)
        shifts.append(float(action[0]))
    assert len(set(shifts[:4])) == 1
    assert shifts[4] == shifts[5] != shifts[0]
    # Without memory or a word about episodes, every call starts one.
    assert len({float(policy.predict(np.zeros(2, np.float32), deterministic=True)[0][0]) for _ in range(3)}) == 3


# --- predict, online ---


def test_a_memory_takes_in_the_last_transition_when_it_is_told_the_reward(family: TaskFamily) -> None:
    policy = policy_of(Remembers(), family)
    first, memory = policy.predict(seen(0, 0), episode_start=True, reward=0.0)  # there is no transition yet
    assert memory is not None
    assert memory["steps"].item() == 0
    np.testing.assert_allclose(first, [0.01, 0.01], rtol=1e-6)
    second, memory = policy.predict(seen(1, 2), memory, episode_start=False, reward=-3.0)
    assert memory is not None
    assert (memory["steps"].item(), memory["reward"].item(), memory["ends"].item()) == (1, -3, 0)
    assert memory["observation"].tolist() == [[0, 0]]
    np.testing.assert_allclose(memory["action"], [[0.1, 0.1]], rtol=1e-6)  # the policy's own, in [-1, 1]
    assert memory["next_observation"].tolist() == [[1, 2]]
    np.testing.assert_allclose(second, [0.02, 0.02], rtol=1e-6)  # it acts on what it has just learnt


def test_without_a_reward_a_memory_stays_as_it_is(family: TaskFamily) -> None:
    policy = policy_of(Remembers(), family)
    _, memory = policy.predict(seen())
    for _ in range(3):
        _, memory = policy.predict(seen(), memory)
    assert memory is not None
    assert (memory["steps"].item(), memory["episodes"].item()) == (0, 1)
    _, memory = policy.predict(seen(5, 6), memory, reward=np.array([2.0]))
    assert memory is not None
    assert memory["observation"].tolist() == seen()[None].tolist()
    assert memory["next_observation"].tolist() == [[5, 6]]


def test_a_new_episode_takes_in_the_last_ones_end_and_keeps_the_memory(family: TaskFamily) -> None:
    policy = policy_of(Remembers(), family)
    _, memory = policy.predict(seen(), episode_start=True)
    _, memory = policy.predict(seen(), memory, episode_start=False, reward=1.0)
    _, memory = policy.predict(seen(), memory, episode_start=np.array([True]), reward=10.0)
    assert memory is not None
    assert (memory["steps"].item(), memory["reward"].item()) == (2, 11)
    assert (memory["ends"].item(), memory["episodes"].item()) == (1, 2)
    # Nothing of it is kept in the policy: without the memory it starts again.
    _, fresh = policy.predict(seen(), reward=5.0)
    assert fresh is not None
    assert fresh["steps"].item() == 0
    assert policy.state["steps"].item() == 0


def test_a_memory_follows_one_environment(family: TaskFamily) -> None:
    with pytest.raises(MetaRLError, match="follows one environment"):
        policy_of(Remembers(), family).predict(np.zeros((2, 2), np.float32))


# --- adapt ---


def test_adapting_to_an_environment_is_a_rollout_and_an_adaptation(family: TaskFamily) -> None:
    learner = Offset()
    before = policy_of(learner, family, seed=5)
    after = before.adapt(make_env(), episodes=3)
    batch = family.batch(Tasks({"goal": [GOAL]}), gymnasium_keys(5))
    t, _ = rollout(learner, {}, learner.initial({}, 1), batch, n_envs=1, episodes=3)
    torch.testing.assert_close(after.state["shift"], 0.1 * t.reward[t.valid].mean().reshape(1, 1))
    assert (after.episodes, before.episodes, before.state["shift"].item()) == (3, 0, 0)
    # It goes on from there, with the noise of the episodes that follow.
    again = after.adapt(make_env(), episodes=2)
    t, _ = rollout(learner, {}, after.state, batch, n_envs=1, episodes=2, first_episode=3)
    torch.testing.assert_close(again.state["shift"], after.state["shift"] + 0.1 * t.reward[t.valid].mean())
    assert again.episodes == 5
    assert again.predict(seen(), deterministic=True)[0][0] != after.predict(seen(), deterministic=True)[0][0]


def test_adapting_online_ends_with_the_state_of_the_rollout(family: TaskFamily) -> None:
    after = policy_of(Remembers(), family).adapt(make_env(), episodes=2)
    # Going up right in steps of .01, .02, ... it never meets a goal below: two episodes of 100 steps.
    assert (after.state["steps"].item(), after.state["episodes"].item(), after.state["ends"].item()) == (200, 2, 2)
    assert after.episodes == 2
    _, memory = after.predict(seen())
    assert memory is not None
    assert memory["steps"].item() == 200  # the adapted policy begins with what it knows


@pytest.mark.parametrize("learner", [Offset(), Remembers()], ids=["afterwards", "online"])
def test_adapting_to_recorded_trajectories_is_adapting_to_what_was_recorded(
    learner: MetaLearner, family: TaskFamily
) -> None:
    batch = family.batch(Tasks({"goal": [GOAL]}), stream_keys(1, "recorded"))
    parts = [rollout(learner, {}, learner.initial({}, 1), batch, n_envs=1, first_episode=i)[0] for i in range(3)]
    policy = policy_of(learner, family)
    listed = policy.adapt(parts)
    assert listed.episodes == 3
    joined = policy.adapt(Trajectory.concatenate(parts))
    expected = learner.adapt({}, learner.initial({}, 1), Trajectory.concatenate(parts))
    for name, value in expected.items():
        torch.testing.assert_close(listed.state[name], value)
        torch.testing.assert_close(joined.state[name], value)


def test_recorded_lanes_are_episodes_of_interaction(family: TaskFamily) -> None:
    batch = family.batch(Tasks({"goal": [GOAL] * 4}), stream_keys(4, "recorded"))
    t, _ = rollout(Offset(), {}, Offset().initial({}, 1), batch, n_envs=4, episodes=2)
    assert policy_of(Offset(), family).adapt(t).episodes == 8


def test_what_cannot_be_adapted_to_is_refused(family: TaskFamily) -> None:
    policy = policy_of(Offset(), family)
    with pytest.raises(MetaRLError, match="episodes=0"):
        policy.adapt(make_env(), episodes=0)
    with pytest.raises(MetaRLError, match=r"at least one trajectory, of one task each; got task rows \[\]"):
        policy.adapt([])
    batch = family.batch(Tasks({"goal": [GOAL] * 2}), stream_keys(2, "recorded"))
    t, _ = rollout(Offset(), {}, Offset().initial({}, 2), batch, n_envs=1)
    with pytest.raises(MetaRLError, match=r"got task rows \[2\]"):
        policy.adapt(t)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("CartPole-v1", r"observation space Box.*does not fit the agent's Box.*wrap it to fit"),
        ("Pendulum-v1", r"observation space"),
    ],
)
def test_an_environment_whose_spaces_do_not_fit_is_refused(family: TaskFamily, env: str, message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        policy_of(Offset(), family).adapt(gymnasium.make(env))


def test_an_action_space_that_does_not_fit_is_refused(family: TaskFamily) -> None:
    env = make_env()
    env.action_space = Box(-1, 1, (3,))
    with pytest.raises(MetaRLError, match=r"action space Box.*\(3,\).*does not fit"):
        policy_of(Offset(), family).adapt(env)


def test_the_environments_own_time_limit_counts(family: TaskFamily) -> None:
    after = policy_of(Remembers(), family).adapt(make_env(max_episode_steps=7), episodes=2)
    assert after.state["steps"].item() == 14
    assert after.state["ends"].item() == 2


def test_numbers_that_are_not_finite_are_refused(family: TaskFamily) -> None:
    class Faulty(gymnasium.Wrapper[Any, Any, Any, Any]):
        """A sensor that fails at the third step."""

        count = 0

        def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
            observation, reward, terminated, truncated, info = self.env.step(action)
            self.count += 1
            return observation, float("nan") if self.count == 3 else reward, terminated, truncated, info

    with pytest.raises(MetaRLError, match=r"reward that is not finite.*episode 0, step 2"):
        policy_of(Offset(), family).adapt(Faulty(make_env()))


def test_pearl_infers_between_the_episodes_that_it_adapts_to() -> None:
    agent = PEARL("metarl/PointNavigation-v0", PEARLConfig(prior_episodes=2), variant="pearl")
    env = gymnasium.make("metarl/PointNavigation-v0", variant="pearl", task={"goal": (0.6, -0.3)})
    seen: list[tuple[float, bool]] = []
    begin = agent.learner.begin_episode

    def watched(params: Params, state: State, noise: torch.Tensor) -> State:
        begun = begin(params, state, noise)
        seen.append((float(state["episodes"]), torch.equal(begun["z"], noise)))
        return begun

    agent.learner.begin_episode = watched  # type: ignore[method-assign]
    policy = agent.adapt(env, episodes=4)
    assert seen == [(0, True), (1, True), (2, False), (3, False)]  # z from the prior while it explores
    one_by_one = agent.adapt(env)
    for _ in range(3):
        one_by_one = one_by_one.adapt(env)
    assert policy.episodes == one_by_one.episodes == 4


def test_after_a_log_nothing_is_left_to_explore() -> None:
    agent = PEARL("metarl/PointNavigation-v0", PEARLConfig(prior_episodes=5), variant="pearl")
    log = Episode(np.zeros((4, 2)), np.zeros((3, 2)), [-1.0, -1.0, -1.0])
    policy = agent.adapt(log)  # a single one will do
    noise = torch.randn(1, agent.config.latent)
    assert not torch.equal(agent.learner.begin_episode(policy.params, policy.state, noise)["z"], noise)
    with pytest.raises(MetaRLError, match="follows one environment"):
        policy.predict(np.zeros((3, 2), np.float32))
    for wrong in (["a"], 3, []):
        with pytest.raises(MetaRLError, match="Adapting takes"):
            agent.adapt(wrong)  # type: ignore[arg-type]
