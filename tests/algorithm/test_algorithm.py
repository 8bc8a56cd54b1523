"""An agent has Stable-Baselines3's verbs: learn with its callbacks and loggers, predict, save, load; and adapt."""

import csv
import errno
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.logger import configure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from metarl.agents.baselines import FineTune
from metarl.agents.maml import MAML
from metarl.agents.maml.config import MAMLConfig
from metarl.algorithm.registry import agent_class, agent_names
from metarl.core.checkpoint import config_from, load_checkpoint, save_checkpoint
from metarl.core.errors import MetaRLError
from metarl.core.random import gymnasium_keys, stream_keys
from metarl.core.trajectory import Trajectory
from metarl.envs.navigation import PointNavigation
from metarl.family.views.sb3 import TaskVecEnv
from metarl.rollout.rollout import rollout
from metarl.tasks import Closed, Tasks

NAVIGATION, GRID = "metarl/PointNavigation-v0", "metarl/GridNavi-v0"
CONFIG = MAMLConfig(tasks=2, episodes=3, hidden=(4,), inner_steps=1)
N_ENVS = 6
ITERATION = N_ENVS * 20 * 2  # steps: two rollouts of 20 steps, which never end early
TRPO = replace(CONFIG, outer="trpo", outer_steps="last")


def make(config: MAMLConfig = CONFIG, seed: int = 0, **arguments: Any) -> MAML:
    return MAML(NAVIGATION, config, variant="pearl", seed=seed, **arguments)


def env(**arguments: Any) -> gymnasium.Env[Any, Any]:
    return gymnasium.make(NAVIGATION, variant="pearl", **arguments)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


class Spy(BaseCallback):
    """Notes what it is called for; stops where it is told to."""

    def __init__(self, stop_at: float = math.inf) -> None:
        super().__init__()
        self.calls, self.steps, self.stop_at = list[str](), list[int](), stop_at

    def _on_training_start(self) -> None:
        assert self.locals["total_timesteps"] > 0
        self.calls.append("start")

    def _on_rollout_start(self) -> None:
        self.calls.append("rollout")

    def _on_step(self) -> bool:
        assert self.training_env.num_envs == N_ENVS
        self.steps.append(self.num_timesteps)
        return self.num_timesteps < self.stop_at

    def _on_rollout_end(self) -> None:
        assert "rollout/return_step_1" in self.locals["metrics"]
        self.calls.append("end of rollout")

    def _on_training_end(self) -> None:
        self.calls.append("end")


def test_learn_calls_back_once_for_each_step_of_all_environments() -> None:
    spy, agent = Spy(), make()
    assert agent.learn(2 * ITERATION, spy) is agent
    assert spy.calls == ["start", "rollout", "end of rollout", "rollout", "end of rollout", "end"]
    assert spy.steps == list(range(N_ENVS, 2 * ITERATION + 1, N_ENVS))
    assert (agent.num_timesteps, agent.iteration) == (2 * ITERATION, 2)
    assert agent.wall_seconds > 0


def test_learn_takes_a_callback_a_list_and_a_function() -> None:
    spies, seen = [Spy(), Spy()], list[int]()
    make().learn(ITERATION, spies)
    assert spies[0].steps == spies[1].steps != []
    assert spies[0].calls == spies[1].calls

    def function(local: dict[str, Any], _global: dict[str, Any]) -> bool:
        seen.append(local["self"].num_timesteps)
        return True

    make().learn(ITERATION, function)
    assert seen == spies[0].steps


@pytest.mark.parametrize("swap", ["train set", "in place", "kind", "split", "family"])
def test_a_callback_that_swaps_the_training_tasks_ends_the_training_before_they_are_used(
    swap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = MAML(PointNavigation("pearl"), CONFIG)
    split, iterations = agent.family.splits, list[int]()
    assert split.train_set is not None

    def swapping(_local: dict[str, Any], _global: dict[str, Any]) -> bool:
        iterations.append(agent.iteration)
        assert split.train_set is not None
        if swap == "train set":
            split.train_set = split.test
        elif swap == "in place":
            split.train_set.values["goal"][0] = split.test.values["goal"][0]
        elif swap == "kind":
            split.kind = "closed"
        elif swap == "split":
            monkeypatch.setattr(agent.family, "splits", Closed().make("other", agent.family.tasks))
        else:
            agent.family = PointNavigation("maml")
        return True

    with pytest.raises(MetaRLError, match="its tasks were swapped"):
        agent.learn(2 * ITERATION, swapping)
    assert set(iterations) == {1}


def test_an_agent_trains_on_a_family_and_no_environment() -> None:
    views = (
        env(tasks="test"),
        gymnasium.make_vec("metarl/PointNavigation-v0", 2, tasks="test", evaluation=True),
        TaskVecEnv("metarl/PointNavigation-v0", 2, tasks="test", evaluation=True),
    )
    for view in views:
        with pytest.raises(
            MetaRLError, match=f"MAML collects .* was given a {type(view).__name__}; give it the family"
        ):
            MAML(view)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"family": 3}, "family=3: give an id"),
        ({"config": 3}, r"MAML\(config=3\): give a MAMLConfig"),
        ({"config": {"tasks": 3}}, "give a MAMLConfig"),
        ({"seed": "0"}, "seed='0'.*: give an integer"),
        ({"seed": 0.5}, "seed=0.5"),
        ({"device": 3.5}, "Device 3.5"),
    ],
    ids=str,
)
def test_arguments_of_another_type_are_told(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        MAML(**{"family": "metarl/PointNavigation-v0", **wrong})


@pytest.mark.parametrize(
    "wrong", [{"total_timesteps": t} for t in ("9", math.nan, math.inf, -1)] + [{"log_interval": 0}]
)
def test_amounts_that_are_none_are_told(wrong: dict[str, Any]) -> None:
    ((name, _),) = wrong.items()
    with pytest.raises(MetaRLError, match=f"{name}="):
        make().learn(**wrong)


@pytest.mark.parametrize("kind", ["callback", "list", "function"])
def test_a_callback_that_returns_false_ends_training_with_its_iteration(kind: str) -> None:
    spy = Spy(stop_at=ITERATION + 1)
    given = {
        "callback": spy,
        "list": [Spy(), spy],
        "function": lambda local, _: local["self"].num_timesteps <= ITERATION,
    }
    agent = make().learn(10 * ITERATION, given[kind])
    assert (agent.num_timesteps, agent.iteration) == (2 * ITERATION, 2)
    if kind != "function":
        assert spy.calls[-1] == "end"


def test_learn_can_go_on() -> None:
    agent = make().learn(ITERATION)
    agent.learn(2 * ITERATION, reset_num_timesteps=False)
    assert (agent.num_timesteps, agent.iteration) == (3 * ITERATION, 3)
    agent.learn(ITERATION)
    # The steps count anew, the iterations do not: no random stream is drawn from twice.
    assert (agent.num_timesteps, agent.iteration) == (ITERATION, 4)


def test_learn_takes_the_configs_budget_and_refuses_none() -> None:
    assert make(replace(CONFIG, total_timesteps=ITERATION + 1)).learn().num_timesteps == 2 * ITERATION
    with pytest.raises(MetaRLError, match="total_timesteps=0"):
        make().learn(0)


def test_the_progress_bar_runs(capsys: pytest.CaptureFixture[str]) -> None:
    make().learn(2 * ITERATION, progress_bar=True)
    shown = capsys.readouterr()
    assert f"{2 * ITERATION}/{2 * ITERATION}" in (shown.out + shown.err).replace(",", "")


def test_checkpoints_of_sb3s_callback_load(tmp_path: Path) -> None:
    agent = make()
    agent.learn(2 * ITERATION, CheckpointCallback(save_freq=40, save_path=str(tmp_path), name_prefix="maml"))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"maml_{ITERATION}_steps.zip", f"maml_{2 * ITERATION}_steps.zip"]
    loaded = MAML.load(tmp_path / names[1])
    assert same(loaded.params, agent.params)
    assert loaded.num_timesteps == 2 * ITERATION
    assert not same(MAML.load(tmp_path / names[0]).params, agent.params)


# Training has no SB3 environment; the callback warns, and works.
@pytest.mark.filterwarnings("ignore:Training and eval env are not of the same type:UserWarning")
def test_sb3s_evaluation_saves_the_best_and_stops_training(tmp_path: Path) -> None:
    stop = StopTrainingOnRewardThreshold(reward_threshold=-1e9, verbose=0)
    calls = EvalCallback(
        env(),
        callback_on_new_best=stop,
        n_eval_episodes=2,
        eval_freq=40,
        log_path=str(tmp_path),
        best_model_save_path=str(tmp_path),
        verbose=0,
        warn=False,
    )
    agent = make().learn(5 * ITERATION, calls)
    assert agent.iteration == 1
    assert -60 < calls.best_mean_reward < 0
    assert same(MAML.load(tmp_path / "best_model").params, agent.params)
    assert np.load(tmp_path / "evaluations.npz")["results"].shape == (1, 2)


def test_an_event_callback_triggers_another() -> None:
    spy = Spy()
    make().learn(3 * ITERATION, EveryNTimesteps(n_steps=ITERATION, callback=spy))
    assert spy.steps == [ITERATION, 2 * ITERATION, 3 * ITERATION]


def test_metrics_go_to_sb3s_loggers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent = make()
    agent.set_logger(configure(str(tmp_path), ["stdout", "csv", "tensorboard"]))
    agent.learn(2 * ITERATION)
    agent.logger.close()
    assert "return_step_1" in capsys.readouterr().out
    with (tmp_path / "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["time/total_timesteps"]) for row in rows] == [ITERATION, 2 * ITERATION]
    assert [float(row["time/iterations"]) for row in rows] == [1, 2]
    wanted = {"rollout/return_step_0", "rollout/return_step_1", "train/objective", "train/std", "time/fps"}
    assert wanted <= set(rows[0])
    events = EventAccumulator(str(tmp_path)).Reload()
    assert wanted <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("train/objective")] == [ITERATION, 2 * ITERATION]


def test_log_interval_leaves_iterations_out(tmp_path: Path) -> None:
    agent = make()
    agent.set_logger(configure(str(tmp_path), ["csv"]))
    agent.learn(5 * ITERATION, log_interval=2)
    agent.logger.close()
    with (tmp_path / "progress.csv").open(newline="") as file:
        assert [row["time/iterations"] for row in csv.DictReader(file)] == ["2", "4", "5"]


def test_an_agent_prints_if_asked_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    make().learn(ITERATION)
    assert capsys.readouterr().out == ""
    make(verbose=1).learn(ITERATION)
    assert "total_timesteps" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_predict_gives_actions_of_the_environments_space() -> None:
    agent = make(replace(CONFIG, initial_std=5.0))
    space = agent.family.action_space
    assert isinstance(space, Box)
    noisy = [agent.predict(np.zeros(2, np.float32))[0] for _ in range(20)]
    assert all(space.contains(action) for action in noisy)
    assert any(np.abs(action).max() == space.high[0] for action in noisy)  # clipped, and scaled
    assert len({tuple(action) for action in noisy}) > 5  # each call has noise of its own
    quiet, state = agent.predict(np.zeros(2, np.float32), deterministic=True)
    assert state is None
    assert np.array_equal(quiet, agent.predict(np.zeros(2, np.float32), deterministic=True)[0])
    many, _ = agent.predict(np.zeros((7, 2), np.float32))
    assert many.shape == (7, 2)
    assert len(np.unique(many[:, 0])) > 1
    batch = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    each = np.stack([agent.predict(row, deterministic=True)[0] for row in batch])
    np.testing.assert_allclose(agent.predict(batch, deterministic=True)[0], each, atol=1e-6)
    with pytest.raises(MetaRLError, match=r"shape \(3,\); this policy takes \(2,\)"):
        agent.predict(np.zeros(3, np.float32))


def test_predict_uses_the_parameters_of_the_moment() -> None:
    agent = make(replace(CONFIG, learning_rate=0.1))
    seen = np.ones(2, np.float32)
    before, _ = agent.predict(seen, deterministic=True)
    agent.learn(ITERATION)
    after, _ = agent.predict(seen, deterministic=True)
    assert not np.array_equal(before, after)
    assert np.array_equal(after, agent.policy().predict(seen, deterministic=True)[0])


def test_predict_of_a_discrete_policy() -> None:
    agent = MAML(GRID, CONFIG)
    space = agent.family.action_space
    assert isinstance(space, Discrete)
    actions = [agent.predict(np.zeros(2, np.float32))[0] for _ in range(30)]
    assert {int(action) for action in actions} == set(range(5))
    assert all(space.contains(action) for action in actions)
    assert agent.predict(np.zeros((4, 2), np.float32))[0].shape == (4,)


@pytest.mark.parametrize("config", [CONFIG, TRPO], ids=["ppo", "trpo"])
def test_a_loaded_agent_trains_on_bit_for_bit(config: MAMLConfig, tmp_path: Path) -> None:
    agent = make(config, seed=3).learn(2 * ITERATION)
    agent.save(tmp_path / "agent.safetensors")
    loaded = MAML.load(tmp_path / "agent.safetensors")
    assert same(loaded.params, agent.params)
    assert same(loaded.training_state(), agent.training_state())
    assert loaded.about() == agent.about()
    for each in (agent, loaded):
        each.learn(2 * ITERATION, reset_num_timesteps=False)
    assert agent.num_timesteps == loaded.num_timesteps == 4 * ITERATION
    assert same(loaded.params, agent.params)


def test_a_file_is_loaded_by_its_own_class_config_and_family(tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    make().save(path)
    with pytest.raises(MetaRLError, match="holds a 'maml' agent, not 'finetune'"):
        FineTune.load(path)
    with pytest.raises(MetaRLError, match="checkpoint with config"):
        make(replace(CONFIG, gamma=0.5)).restore(path)
    with pytest.raises(MetaRLError, match="checkpoint with variant pearl, not maml"):
        MAML(NAVIGATION, CONFIG, variant="maml").restore(path)
    with pytest.raises(MetaRLError, match="no checkpoint"):
        MAML.load(tmp_path / "nothing")


class Unregistered(PointNavigation):
    """A family that no registry knows."""

    horizon = 10
    id = ""


def test_an_agent_of_an_unregistered_family_is_loaded_with_it(tmp_path: Path) -> None:
    agent = MAML(Unregistered(), CONFIG).learn(1)
    agent.save(tmp_path / "agent")
    assert same(MAML.load(tmp_path / "agent", Unregistered()).params, agent.params)
    with pytest.raises(MetaRLError, match="unknown"):
        MAML.load(tmp_path / "agent")


@pytest.mark.parametrize("length", [0, 7, 60, -1], ids=lambda n: f"{n} bytes" if n >= 0 else "one byte short")
def test_a_truncated_checkpoint_is_refused_in_one_line(length: int, tmp_path: Path) -> None:
    path = tmp_path / "agent"
    make().save(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(MetaRLError, match="damaged") as raised:
        MAML.load(path)
    assert "\n" not in str(raised.value)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "agent"
    save_checkpoint(path, {"a": torch.ones(2)}, {"n": 1})

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MetaRLError, match="No space left on device; make room"):
        save_checkpoint(path, {"a": torch.zeros(2)}, {"n": 2})
    tensors, about = load_checkpoint(path)
    assert (tensors["a"].tolist(), about) == ([1.0, 1.0], {"n": 1})
    assert [file.name for file in tmp_path.iterdir()] == ["agent"]


def test_tensors_that_share_memory_are_saved_each(tmp_path: Path) -> None:
    value = torch.arange(6.0).reshape(2, 3)
    save_checkpoint(tmp_path / "shared", {"a": value, "b": value, "c": value.T, "d": value[0]}, {})
    tensors, _ = load_checkpoint(tmp_path / "shared")
    assert torch.equal(tensors["c"], value.T)
    assert torch.equal(tensors["b"], value)
    assert torch.equal(tensors["d"], value[0])


@pytest.mark.parametrize("config", [CONFIG, TRPO], ids=["ppo", "trpo"])
def test_the_same_seed_is_the_same_run_and_another_is_another(config: MAMLConfig) -> None:
    first = make(config, seed=1).learn(3 * ITERATION)
    # Nothing is drawn from the generators that a user's program may have seeded.
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    again = make(config, seed=1).learn(3 * ITERATION)
    assert same(first.params, again.params)
    other = make(config, seed=2).learn(3 * ITERATION)
    assert not any(torch.equal(value, other.params[name]) for name, value in first.params.items() if "weight" in name)


def test_adapt_to_an_environment() -> None:
    agent = make()
    adapted = agent.adapt(env(task={"goal": (0.5, 0.5)}), episodes=4)
    assert adapted.episodes == 4
    assert adapted.state["adaptations"].tolist() == [1]
    weights = adapted.state["policy.0.weight"][0]
    assert not torch.equal(weights, agent.params["policy.0.weight"])
    action, _ = adapted.predict(np.zeros(2, np.float32), deterministic=True)
    assert agent.family.action_space.contains(action)
    # The agent is as it was.
    assert agent.policy().episodes == 0
    assert agent.adapt(env()).episodes == CONFIG.episodes


def test_adapting_to_an_environment_is_what_training_does_in_a_batch() -> None:
    agent, goal = make(seed=5), {"goal": np.array([0.5, -0.5])}
    adapted = agent.adapt(env(task=goal), episodes=3)
    batch = agent.family.batch(Tasks.stack([goal]), gymnasium_keys(5))
    state = agent.learner.initial(agent.params, 1)
    recorded, _ = rollout(agent.learner, agent.params, state, batch, n_envs=1, episodes=3)
    for name, value in agent.learner.adapt(agent.params, state, recorded).items():
        torch.testing.assert_close(adapted.state[name], value, msg=name)
    from_recording = agent.adapt(recorded)
    assert from_recording.episodes == 3
    for name, value in adapted.state.items():
        torch.testing.assert_close(from_recording.state[name], value, msg=name)


def recordings(agent: MAML, n: int) -> Iterator[Trajectory]:
    tasks = agent.family.splits.test[:1]
    for i in range(n):
        batch = agent.family.batch(tasks, stream_keys(1, "recording", i))
        yield rollout(agent.learner, agent.params, agent.learner.initial(agent.params, 1), batch, n_envs=1)[0]


def test_adapt_to_recorded_trajectories() -> None:
    agent = make()
    parts = list(recordings(agent, 3))
    joined, listed = agent.adapt(Trajectory.concatenate(parts)), agent.adapt(parts)
    assert same(joined.state, listed.state)
    assert listed.episodes == 3
    # Other sources record no log-probabilities.
    bare = [replace(part, record={}) for part in parts]
    for name, value in agent.adapt(bare).state.items():
        torch.testing.assert_close(value, listed.state[name], msg=name)
    with pytest.raises(MetaRLError, match="at least one trajectory"):
        agent.adapt([])
    with pytest.raises(MetaRLError, match=r"one task each; got task rows \[2\]"):
        agent.adapt(Trajectory.concatenate(parts[:2], axis="task"))


def test_an_adapted_policy_adapts_on_to_new_episodes() -> None:
    class Starts(gymnasium.Wrapper[Any, Any, Any, Any]):
        def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
            observation, info = super().reset(**arguments)
            seen.append(tuple(observation))
            return observation, info

    seen: list[tuple[float, ...]] = []
    agent, place = make(), Starts(env())
    twice = agent.adapt(place, episodes=2).adapt(place, episodes=2)
    assert twice.episodes == 4
    assert twice.state["adaptations"].tolist() == [2]
    assert len(set(seen)) == len(seen) == 4
    first, *_ = seen
    # A policy that knows nothing yet, or another environment, begins with the seed.
    seen.clear()
    once = agent.adapt(place, episodes=1)
    once.adapt(Starts(env()), episodes=1)
    assert seen == [first, first]


def test_adapting_needs_episodes_and_spaces_that_fit() -> None:
    agent = make()
    with pytest.raises(MetaRLError, match="episodes=0"):
        agent.adapt(env(), episodes=0)
    with pytest.raises(MetaRLError, match="observation space"):
        agent.adapt(gymnasium.make("CartPole-v1"), episodes=1)
    with pytest.raises(MetaRLError, match="action space"):
        agent.adapt(gymnasium.make(GRID), episodes=1)


def test_adapt_to_an_environment_of_gymnasiums_own() -> None:
    agent = MAML("metarl/CartPole-v0", CONFIG)
    adapted = agent.adapt(gymnasium.make("CartPole-v1"), episodes=3)
    action, _ = adapted.predict(np.zeros(4, np.float32))
    assert int(action) in (0, 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_cuda_without_cuda_says_what_to_do() -> None:
    with pytest.raises(MetaRLError, match="finds no CUDA here; use --device cpu"):
        make(device="cuda")
    with pytest.raises(MetaRLError, match="unknown; use 'cpu', 'cuda'"):
        make(device="gpu9")


def test_training_on_cuda_goes_on_from_its_file(cuda: str, tmp_path: Path) -> None:
    agent = make(device=cuda).learn(2 * ITERATION)
    agent.save(tmp_path / "agent")
    loaded = MAML.load(tmp_path / "agent", device=cuda)
    for each in (agent, loaded):
        each.learn(ITERATION, reset_num_timesteps=False)
    assert same(loaded.params, agent.params)
    assert agent.adapt(env(), episodes=2).predict(np.zeros(2, np.float32))[0].shape == (2,)


def test_agents_are_found_by_name_and_by_place() -> None:
    assert agent_names() == sorted(agent_names())
    assert {"maml", "finetune"} <= set(agent_names())
    assert agent_class("maml") is agent_class("metarl.agents.maml:MAML") is MAML
    for wrong in ("nope", "metarl.agents.maml:Nope", "metarl.agents.maml.config:MAMLConfig", "no_such_module:Agent"):
        with pytest.raises(MetaRLError):
            agent_class(wrong)


def test_a_config_comes_back_from_json() -> None:
    saved = {"tasks": 3, "hidden": [5, 6]}
    assert config_from(MAMLConfig, saved) == MAMLConfig(tasks=3, hidden=(5, 6))
    with pytest.raises(MetaRLError, match=r"has no \['speed'\]"):
        config_from(MAMLConfig, {"speed": 1})
