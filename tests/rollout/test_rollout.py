"""The rollout, on a small noisy family in which the task decides how long an episode lasts."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from metarl.core.actions import ActionMap
from metarl.core.distributions import ActionDistribution, distribution_of
from metarl.core.errors import MetaRLError
from metarl.core.learner import MetaLearner
from metarl.core.networks import MLP
from metarl.core.random import gymnasium_keys, stream_keys
from metarl.core.trajectory import Trajectory
from metarl.core.types import Noise, Outputs, Params, Transition
from metarl.envs.engine.torch import State, TaskTensors, TorchBatch, TorchFamily
from metarl.family import make_family
from metarl.family.views.single import TaskEnv
from metarl.rollout.batch import Step
from metarl.rollout.rollout import rollout
from metarl.rollout.single import GymnasiumBatch, check_spaces, episode_limit
from metarl.tasks import Tasks, TaskSpace, Uniform

HORIZON = 12


class Countdown(TorchFamily):
    """A noisy walk on a line that terminates after ``length`` steps: the observation is (place, steps so far)."""

    tasks = TaskSpace(length=Uniform(0.0, 100.0), pull=Uniform(-1.0, 1.0))
    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space = Box(-0.1, 0.3, (1,), np.float32)
    horizon = HORIZON
    draws = (1, 1)

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        return {"place": u[:, 0], "clock": torch.zeros_like(u[:, 0])}

    def step(
        self, state: State, action: Tensor, task: TaskTensors, u: Tensor
    ) -> tuple[State, Tensor, Tensor, dict[str, Tensor]]:
        place, clock = state["place"] + action[:, 0] + 0.1 * u[:, 0], state["clock"] + 1
        reward = task["pull"] * place
        return {"place": place, "clock": clock}, reward, clock >= task["length"], {"moved": action, "clock": clock}

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return torch.stack([state["place"], state["clock"]], -1)


class Perceptrons(MetaLearner):
    """A Gaussian policy for each task row, a perceptron of its own; adds an episode's noise to the mean."""

    action_noise = Noise(1)
    episode_noise = Noise(2, "uniform")
    network = MLP((2, 8, 1), output_gain=1.0)

    def initial(self, params: Params, n_tasks: int) -> State:
        rows = [self.network.init(torch.Generator().manual_seed(i)) for i in range(n_tasks)]
        state = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        return {**state, "shift": torch.zeros(n_tasks, 1, 1)}

    def begin_episode(self, params: Params, state: State, noise: Tensor) -> State:
        return {**state, "shift": noise.sum(-1)[:, None, None]}

    def policy(self, params: Params, state: State, observation: Tensor) -> Outputs:
        mean = self.network(state, observation) + state["shift"]
        return {"mean": mean, "log_std": torch.full_like(mean, -1.0), "value": mean[..., 0]}

    def distribution(self, outputs: Outputs) -> ActionDistribution:
        return distribution_of(outputs)


class Tally(MetaLearner):
    """Online: counts what it is shown, and remembers the last of it."""

    online = True
    action_noise = Noise(1)

    def initial(self, params: Params, n_tasks: int) -> State:
        zero = torch.zeros(n_tasks)
        return {"steps": zero, "reward": zero, "ends": zero, "limits": zero, "seen": torch.zeros(n_tasks, 2)}

    def begin_episode(self, params: Params, state: State, noise: Tensor) -> State:
        return state

    def act(
        self, params: Params, state: State, observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        return 0 * noise if deterministic else noise, {"steps": state["steps"][:, None]}

    def observe(self, params: Params, state: State, transition: Transition) -> State:
        return {
            "steps": state["steps"] + 1,
            "reward": state["reward"] + transition.reward[:, 0],
            "ends": state["ends"] + transition.terminated[:, 0],
            "limits": state["limits"] + transition.truncated[:, 0],
            "seen": transition.next_observation[:, 0],
        }


def batch_of(
    lengths: list[float], n_envs: int = 1, pull: list[float] | None = None, family: TorchFamily | None = None
) -> TorchBatch:
    pulls = pull if pull is not None else np.linspace(-1, 1, len(lengths)).tolist()
    tasks = Tasks({"length": lengths, "pull": pulls}).repeat(n_envs)
    return (family or Countdown()).batch(tasks, stream_keys(len(tasks), "test"))


def collect(lengths: list[float], n_envs: int = 1, **options: Any) -> Trajectory:
    batch, learner = batch_of(lengths, n_envs), Perceptrons()
    return rollout(learner, {}, learner.initial({}, len(lengths)), batch, n_envs=n_envs, **options)[0]


def same(one: Trajectory, other: Trajectory, tolerance: float = 0.0) -> None:
    """Every tensor, up to the length of the shorter step axis; beyond it is padding."""
    steps = min(one.n_steps, other.n_steps)
    assert torch.equal(one.lengths, other.lengths)
    for name in ("observation", "action", "reward", "terminated", "truncated", "valid"):
        a, b = getattr(one, name)[:, :, :, :steps], getattr(other, name)[:, :, :, :steps]
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")
    torch.testing.assert_close(one.final_observation, other.final_observation, rtol=0, atol=tolerance)
    torch.testing.assert_close(one.episode_noise, other.episode_noise, rtol=0, atol=0)
    for name in one.record:
        torch.testing.assert_close(
            one.record[name][:, :, :, :steps], other.record[name][:, :, :, :steps], rtol=0, atol=tolerance
        )


def test_axes() -> None:
    t = collect([1, 3, 99], n_envs=2, episodes=4)
    assert t.observation.shape == (3, 2, 4, HORIZON, 2)
    assert t.action.shape == (3, 2, 4, HORIZON, 1)
    for value in (t.reward, t.terminated, t.truncated, t.valid, t.record["log_prob"], t.record["value"]):
        assert value.shape == (3, 2, 4, HORIZON)
    assert t.extras["moved"].shape == (3, 2, 4, HORIZON, 1)
    assert t.final_observation.shape == (3, 2, 4, 2)
    assert t.episode_noise.shape == (3, 4, 2)
    assert {t.terminated.dtype, t.truncated.dtype, t.valid.dtype} == {torch.bool}


def test_ends_are_told_apart_and_what_follows_is_padding() -> None:
    # By termination after 1 and 3 steps; by termination with the horizon; by the horizon.
    t = collect([1, 3, HORIZON, 99], n_envs=2)
    assert t.lengths[:, :, 0].tolist() == [[1, 1], [3, 3], [HORIZON] * 2, [HORIZON] * 2]
    steps = torch.arange(HORIZON)
    for task, length in enumerate([1, 3, HORIZON, HORIZON]):
        by_time = task == 3
        for env in range(2):
            assert torch.equal(t.valid[task, env, 0], steps < length)
            assert torch.equal(t.terminated[task, env, 0], (steps == length - 1) & (not by_time))
            assert torch.equal(t.truncated[task, env, 0], (steps == length - 1) & by_time)
    for value in (t.observation, t.action, t.reward, t.record["log_prob"], t.extras["moved"]):
        assert (value[~t.valid] == 0).all()
        assert (value[t.valid] != 0).any()


def test_the_final_observation_is_the_one_after_the_last_valid_step() -> None:
    t = collect([1, 3, HORIZON, 99], n_envs=2)
    assert t.final_observation[..., 1][:, :, 0].tolist() == [[1, 1], [3, 3], [HORIZON] * 2, [HORIZON] * 2]
    # The clock says which observation is which, and the reward is pull times the place after the move.
    clock = torch.arange(HORIZON).expand_as(t.reward)
    assert torch.equal(t.observation[..., 1][t.valid], clock[t.valid].float())
    pull = torch.linspace(-1, 1, 4)[:, None, None, None]
    torch.testing.assert_close((pull * t.next_observation()[..., 0])[t.valid], t.reward[t.valid])
    assert torch.equal(t.next_observation()[..., 1][t.valid], (clock + 1)[t.valid].float())


def test_the_step_axis_ends_with_the_longest_episode_and_the_rollout_soon_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    step = TorchBatch.step
    monkeypatch.setattr(TorchBatch, "step", lambda self, action: calls.append(1) or step(self, action))
    assert collect([1, 3, 2]).n_steps == 3
    assert len(calls) < HORIZON
    assert collect([1, 3, 2], episodes=3).n_steps == 3
    assert collect([1, 11]).n_steps == 11


def test_the_record_belongs_to_the_action_and_the_episode_noise_to_the_episode() -> None:
    t, learner = collect([99, 99, 99], n_envs=2, episodes=2), Perceptrons()
    for episode in range(2):
        state = learner.begin_episode({}, learner.initial({}, 3), t.episode_noise[:, episode])
        outputs = learner.policy({}, state, t.observation[:, :, episode].flatten(1, 2))
        log_prob = learner.distribution(outputs).log_prob(t.action[:, :, episode].flatten(1, 2))
        torch.testing.assert_close(log_prob.unflatten(1, (2, -1)), t.record["log_prob"][:, :, episode])
        torch.testing.assert_close(outputs["value"].unflatten(1, (2, -1)), t.record["value"][:, :, episode])
    numbers = t.episode_noise.flatten()
    assert len(numbers.unique()) == len(numbers)  # every task and episode its own
    assert ((numbers > 0) & (numbers < 1)).all()  # uniform, as the learner asks


def test_actions_are_recorded_as_the_policy_means_them_and_clipped_into_the_box_for_the_family() -> None:
    t = collect([99, 99, 99], n_envs=3)
    assert (t.action.abs() > 1).any()
    # Box(-.1, .3): the middle is .1, half the width .2.
    torch.testing.assert_close(t.extras["moved"], 0.1 + 0.2 * t.action.clamp(-1, 1))


def test_a_row_is_the_rollout_of_its_task_alone_with_its_own_parameters() -> None:
    lengths, n_envs = [4.0, 99.0, 2.0, 7.0], 2
    whole, learner = collect(lengths, n_envs, episodes=2), Perceptrons()
    state, pull = learner.initial({}, 4), np.linspace(-1, 1, 4)
    for i, length in enumerate(lengths):
        tasks = Tasks({"length": [length], "pull": [pull[i]]}).repeat(n_envs)
        batch = Countdown().batch(tasks, stream_keys(8, "test")[i * n_envs : (i + 1) * n_envs])
        row = {name: value[i : i + 1] for name, value in state.items()}
        same(whole.tasks([i]), rollout(learner, {}, row, batch, n_envs=n_envs, episodes=2)[0], 1e-5)
    # The rows differ by more than their noise: the same noise with the first row's parameters gives other actions.
    alike = {name: value[:1].expand_as(value) for name, value in state.items()}
    other = rollout(learner, {}, alike, batch_of(lengths, n_envs), n_envs=n_envs, episodes=2)[0]
    assert not torch.allclose(other.action[1:], whole.action[1:], atol=1e-2)


def test_a_chunk_of_tasks_is_the_whole() -> None:
    lengths, n_envs, learner = [4.0, 99.0, 2.0, 7.0, 5.0, 9.0], 3, Perceptrons()
    whole, state, keys = collect(lengths, n_envs), learner.initial({}, 6), stream_keys(18, "test")
    tasks = Tasks({"length": lengths, "pull": np.linspace(-1, 1, 6)}).repeat(n_envs)
    parts = []
    for start, stop in ((0, 2), (2, 6)):
        rows = slice(start * n_envs, stop * n_envs)
        row = {name: value[start:stop] for name, value in state.items()}
        parts.append(rollout(learner, {}, row, Countdown().batch(tasks[rows], keys[rows]), n_envs=n_envs)[0])
    same(whole, Trajectory.concatenate(parts, axis="task"), 1e-5)


def test_the_same_again_and_other_noise_in_another_episode() -> None:
    first = collect([4, 99], n_envs=2, episodes=3)
    same(first, collect([4, 99], n_envs=2, episodes=3))
    moved = first.next_observation()[..., 0] - first.observation[..., 0]
    for noise in (
        first.observation[..., 0, 0],  # of the reset
        (first.action[..., 0] - first.record["value"])[first.valid],  # of the policy; its value is the mean
        (moved - first.extras["moved"][..., 0])[first.valid],  # of the dynamics
    ):
        assert len(noise.unique()) > 0.98 * noise.numel()  # each its own, but for rounding
    # The number of an episode alone decides on its noise.
    same(collect([4, 99], n_envs=2, episodes=1, first_episode=2), take_episode(first, 2))


def take_episode(t: Trajectory, episode: int) -> Trajectory:
    chosen = {
        name: getattr(t, name)[:, :, [episode]]
        for name in ("observation", "action", "reward", "terminated", "truncated", "valid", "final_observation")
    }
    record = {name: value[:, :, [episode]] for name, value in t.record.items()}
    return Trajectory(**chosen, episode_noise=t.episode_noise[:, [episode]], record=record)


def test_without_exploration_noise_actions_are_the_mode() -> None:
    t, learner = collect([99, 99], deterministic=True), Perceptrons()
    state = learner.begin_episode({}, learner.initial({}, 2), t.episode_noise[:, 0])
    torch.testing.assert_close(t.action[:, :, 0], learner.policy({}, state, t.observation[:, 0, 0])["mean"][:, None])


def test_an_online_learner_takes_in_every_valid_transition_once_and_then_no_more() -> None:
    learner, lengths = Tally(), [1.0, 3.0, HORIZON, 99.0]
    t, state = rollout(learner, {}, learner.initial({}, 4), batch_of(lengths), n_envs=1, episodes=2)
    assert state["steps"].tolist() == [2, 6, 2 * HORIZON, 2 * HORIZON]
    assert state["ends"].tolist() == [2, 2, 2, 0]
    assert state["limits"].tolist() == [0, 0, 0, 2]
    torch.testing.assert_close(state["reward"], t.returns.sum((1, 2)))
    assert torch.equal(state["seen"], t.final_observation[:, 0, 1])  # an episode's last transition included
    # The memory is carried over from the first episode to the second.
    assert t.record["steps"][1, 0, :, :3].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_learner_that_is_not_online_leaves_with_its_state_but_for_the_episode_start() -> None:
    learner = Perceptrons()
    before = learner.initial({}, 2)
    t, after = rollout(learner, {}, before, batch_of([4, 99]), n_envs=1, episodes=2)
    assert torch.equal(after["shift"][:, 0, 0], t.episode_noise[:, 1].sum(-1))
    assert all(torch.equal(after[name], value) for name, value in before.items() if name != "shift")


@pytest.mark.parametrize(
    ("n_envs", "learner", "options", "message"),
    [
        (4, Perceptrons(), {}, "6 environments do not divide into envs of 4"),
        (0, Perceptrons(), {}, "envs of 0"),
        (2, Tally(), {}, "Tally adapts online and has one env a task, got n_envs=2"),
        (2, Perceptrons(), {"episodes": 0}, "episodes=0"),
    ],
)
def test_what_cannot_be_rolled_out_is_refused(
    n_envs: int, learner: MetaLearner, options: dict[str, int], message: str
) -> None:
    with pytest.raises(MetaRLError, match=message):
        rollout(learner, {}, learner.initial({}, 3), batch_of([5, 5, 5], n_envs=2), n_envs=n_envs, **options)


class Broken(Countdown):
    """Task 1 gives something that is not a number after its fourth step."""

    def __init__(self, name: str, value: float) -> None:
        super().__init__()
        self._name, self._value = name, value

    def step(
        self, state: State, action: Tensor, task: TaskTensors, u: Tensor
    ) -> tuple[State, Tensor, Tensor, dict[str, Tensor]]:
        new, reward, terminated, extras = super().step(state, action, task, u)
        broken = (new["clock"] == 4) & (task["pull"] == 0)
        if self._name == "reward":
            reward = torch.where(broken, self._value, reward)
        else:
            new["place"] = torch.where(broken, self._value, new["place"])
        return new, reward, terminated, extras


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("name", "length", "step"),
    [("reward", 9, 3), ("observation", 9, 4), ("observation", 4, 4)],  # the last is the final observation
)
def test_a_number_that_is_not_finite_is_an_error_that_says_where(
    name: str, length: int, step: int, value: float
) -> None:
    learner, batch = Tally(), batch_of([9, length, 9], pull=[-1, 0, 1], family=Broken(name, value))
    with pytest.raises(MetaRLError, match=rf"{name} that is not finite.*task 1, env 0, episode 0, step {step}\b"):
        rollout(learner, {}, learner.initial({}, 3), batch, n_envs=1)


@pytest.mark.parametrize("name", ["reward", "observation"])
def test_a_row_that_breaks_down_after_its_end_disturbs_nobody(name: str) -> None:
    learner, batch = Tally(), batch_of([9, 3, 9], pull=[-1, 0, 1], family=Broken(name, float("nan")))
    t, state = rollout(learner, {}, learner.initial({}, 3), batch, n_envs=1)
    assert t.observation.isfinite().all()
    assert t.reward.isfinite().all()
    assert state["reward"].isfinite().all()
    assert state["steps"].tolist() == [9, 3, 9]


def test_actions_map_to_the_familys_space_and_back() -> None:
    box = ActionMap(Box(np.array([-1, 0], np.float32), np.array([3, 0.5], np.float32)), "cpu", torch.float32)
    torch.testing.assert_close(
        box.to_env(torch.tensor([[-1.0, -1], [0, 0], [1, 1], [9, -9]])),
        torch.tensor([[-1.0, 0], [1, 0.25], [3, 0.5], [3, 0]]),
    )
    torch.testing.assert_close(box.from_env(torch.tensor([3.0, 0.25])), torch.tensor([1.0, 0.0]))
    index = ActionMap(Discrete(3, start=-1), "cpu", torch.float32)
    assert index.to_env(torch.tensor([0, 2])).tolist() == [-1, 1]
    assert index.from_env(torch.tensor([-1, 1])).tolist() == [0, 2]
    for space in (Box(-np.inf, 1, (2,)), gymnasium.spaces.MultiDiscrete([2, 2])):
        with pytest.raises(MetaRLError, match="Discrete or a bounded Box"):
            ActionMap(space, "cpu", torch.float32)


# --- one Gymnasium environment as a batch of one ---

Make = Callable[[], tuple[gymnasium.Env[Any, Any], TorchBatch, int]]


def countdown(length: float) -> Make:
    def make() -> tuple[gymnasium.Env[Any, Any], TorchBatch, int]:
        task = {"length": length, "pull": 0.5}
        batch = Countdown().batch(Tasks({name: [value] for name, value in task.items()}), gymnasium_keys(7))
        return TaskEnv(Countdown(), task=task), batch, 1

    return make


def navigation() -> tuple[gymnasium.Env[Any, Any], TorchBatch, int]:
    """Through ``gymnasium.make``, on the variant whose starts are random."""
    family = make_family("metarl/PointNavigation-v0", "pearl")
    env = gymnasium.make("metarl/PointNavigation-v0", variant="pearl", task={"goal": (0.25, -0.75)})
    batch = family.batch(Tasks({"goal": [(0.25, -0.75)]}), gymnasium_keys(7))
    assert isinstance(batch, TorchBatch)
    return env, batch, 2


class Wander(Tally):
    """Acts by its noise, in as many dimensions as asked for."""

    def __init__(self, dimensions: int) -> None:
        self.action_noise = Noise(dimensions)


@pytest.mark.parametrize("make", [countdown(5), countdown(99), navigation], ids=["ends", "horizon", "gymnasium.make"])
def test_a_gymnasium_environment_gives_the_familys_own_numbers(make: Make) -> None:
    env, batch, dimensions = make()
    learner = Wander(dimensions)
    single = GymnasiumBatch(env, batch.horizon, seed=7)
    mine, after_mine = rollout(learner, {}, learner.initial({}, 1), single, n_envs=1, episodes=3)
    theirs, after_theirs = rollout(learner, {}, learner.initial({}, 1), batch, n_envs=1, episodes=3)
    same(mine, theirs)
    assert mine.n_steps == theirs.n_steps
    for name in after_mine:
        torch.testing.assert_close(after_mine[name], after_theirs[name], rtol=0, atol=0)


class Clock(gymnasium.Env[Any, Any]):
    """Counts; ends after ``length`` steps, and raises if it is stepped on."""

    observation_space = Box(0, np.inf, (1,), np.float32)
    action_space = Discrete(2, start=5)

    def __init__(self, length: int) -> None:
        self.length, self.actions = length, list[int]()
        self.seeds: list[int | None] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.seeds.append(seed)
        self.clock = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.clock < self.length, "stepped after the end"
        self.actions.append(action)
        self.clock += 1
        return np.full(1, self.clock, np.float32), 1.0, self.clock == self.length, False, {}


class Second(Tally):
    """Always takes action 1."""

    action_noise = Noise()

    def act(
        self, params: Params, state: State, observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        return torch.ones(observation.shape[:2], dtype=torch.int64), {}


def test_after_its_end_a_gymnasium_environment_is_stepped_no_more() -> None:
    env, learner = Clock(3), Second()
    t, state = rollout(learner, {}, learner.initial({}, 1), GymnasiumBatch(env, 20, seed=4), n_envs=1, episodes=2)
    assert t.lengths.tolist() == [[[3, 3]]]
    assert t.returns.tolist() == [[[3, 3]]]
    assert t.terminated[0, 0, 0].tolist() == [False, False, True]
    assert not t.truncated.any()
    assert t.final_observation.flatten().tolist() == [3, 3]
    assert state["steps"].tolist() == [6]
    assert env.actions == [6] * 6  # the space starts at 5
    assert env.seeds == [4, None]  # seeded once; then it draws on


def test_an_environment_without_a_time_limit_is_truncated_at_the_horizon() -> None:
    learner = Second()
    t, state = rollout(learner, {}, learner.initial({}, 1), GymnasiumBatch(Clock(99), 6), n_envs=1)
    assert t.lengths.tolist() == [[[6]]]
    assert t.truncated[0, 0, 0].tolist() == [False] * 5 + [True]
    assert not t.terminated.any()
    assert state["limits"].tolist() == [1]
    ends_there, _ = rollout(learner, {}, learner.initial({}, 1), GymnasiumBatch(Clock(6), 6), n_envs=1)
    assert ends_there.terminated[0, 0, 0, -1]
    assert not ends_there.truncated.any()


def test_the_time_limit_of_an_environment_is_its_specs_or_the_familys() -> None:
    assert episode_limit(gymnasium.make("CartPole-v1"), 7) == 500
    assert episode_limit(Clock(3), 7) == 7


def test_spaces_that_do_not_fit_are_refused_by_name() -> None:
    env = Clock(3)
    check_spaces(env, env.observation_space, Discrete(2))
    for observation_space, action_space, message in (
        (Box(0, 1, (2,)), env.action_space, r"observation space .* does not fit"),
        (env.observation_space, Discrete(3), r"action space .* does not fit the agent's Discrete\(3\)"),
        (env.observation_space, Box(-1, 1, (1,)), r"action space .* does not fit"),
    ):
        with pytest.raises(MetaRLError, match=message):
            check_spaces(env, observation_space, action_space)


def test_a_step_has_the_environment_axis_first() -> None:
    batch = GymnasiumBatch(Clock(1), 5)
    assert batch.reset().shape == (1, 1)
    for terminated in (True, False):  # the second step is padding
        outcome = batch.step(torch.tensor([5]))
        assert isinstance(outcome, Step)
        assert outcome.observation.tolist() == [[1]]
        assert (outcome.reward.shape, outcome.terminated.tolist()) == ((1,), [terminated])
