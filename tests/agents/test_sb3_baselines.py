"""Agents that SB3 trains: what they act like, what they remember, and that knowing the task pays."""

import csv
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize
from torch import Tensor

from metarl.agents.baselines import MultiTask, Oracle
from metarl.agents.baselines.sb3 import InexactResume, SB3Agent
from metarl.agents.baselines.sb3_config import PRESETS, PPOConfig, SACConfig, SB3Config
from metarl.agents.maml.config import MAMLConfig
from metarl.cli.main import main
from metarl.core.checkpoint import config_from, load_checkpoint
from metarl.core.errors import MetaRLError
from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.evaluation.comparison import comparison_json
from metarl.evaluation.driver import adaptation_curve
from metarl.evaluation.outcome import evaluate_run
from metarl.experiments.logs import STEPS
from metarl.experiments.options import TrainingOptions
from metarl.experiments.run import Run
from metarl.experiments.training import train_run
from metarl.family import TaskFamily, make_family
from metarl.family.views.observed import with_task
from metarl.family.views.sb3 import TaskVecEnv
from metarl.family.views.single import TaskEnv
from metarl.tasks import Choice, Closed, TaskSpace

FAMILY, VARIANT = "metarl/PointNavigation-v0", "pearl"
Learns = Callable[..., None]
PPO = SB3Config(n_envs=4, total_timesteps=128, ppo=PPOConfig(n_steps=16, batch_size=32, n_epochs=2, net_arch=(8,)))
SAC = SB3Config(
    algorithm="sac",
    n_envs=4,
    total_timesteps=120,
    sac=SACConfig(learning_starts=40, buffer_size=400, batch_size=8, gradient_steps=2, net_arch=(8,), log_every=40),
)
BOTH = pytest.mark.parametrize("config", [PPO, SAC], ids=["ppo", "sac"])


class Lever(TorchFamily):
    """Pull to the left or to the right; which of the two pays is never observed."""

    tasks = TaskSpace(side=Choice((-1.0, 1.0)))
    split = Closed()
    default_task: ClassVar[Mapping[str, Any]] = {"side": 1.0}
    observation_space = Box(-1, 1, (1,), np.float32)
    action_space: Any = Box(-2, 2, (1,), np.float32)
    horizon = 4

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        return {"last": torch.zeros_like(task["side"])}

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        # From -1 to 1 a step: what pays on one task costs as much on the other.
        return state, action[:, 0] * task["side"] / 2, torch.zeros_like(state["last"]).bool()

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return state["last"][:, None]


class Switch(Lever):
    action_space = Discrete(2)

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        return state, (2 * action - 1) * task["side"], torch.zeros_like(state["last"]).bool()


def family() -> TaskFamily:
    return make_family(FAMILY, VARIANT)


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(value, other[name]) for name, value in one.items())


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("made", "config"), [(family(), PPO), (family(), SAC), (Switch(), PPO)], ids=["ppo", "sac", "discrete"]
)
def test_it_acts_as_sb3s_model_does(made: TaskFamily, config: SB3Config) -> None:
    agent = Oracle(made, config).learn()
    model, learner = agent.model, agent.learner
    space = agent.family.observation_space
    seen = np.random.default_rng(0).normal(size=(50, *(space.shape or ()))).astype(np.float32)
    normaliser = model.get_vec_normalize_env()
    assert isinstance(normaliser, VecNormalize) == (config is PPO)
    theirs = seen if normaliser is None else normaliser.normalize_obs(seen)
    assert isinstance(theirs, np.ndarray)
    wanted, _ = model.predict(theirs, deterministic=True)
    noise = torch.zeros(1, 50, learner.action_noise.n)
    action, _ = learner.act(agent.params, {}, torch.as_tensor(seen)[None], noise, deterministic=True)
    if config is PPO:
        limits = (-1, 1) if isinstance(agent.family.action_space, Box) else (None, 1)
        assert np.array_equal(action[0].clamp(*limits).numpy(), wanted)
    else:
        # SB3 maps tanh to the Box by way of [0, 1], which rounds.
        assert np.allclose(action[0].numpy(), wanted, rtol=0, atol=1e-6)
        assert torch.equal(action[0], model.policy.actor(torch.as_tensor(seen), deterministic=True))
    # In the family's own space, through SB3's verb.
    scaled = agent.predict(seen, deterministic=True)[0]
    if isinstance(agent.family.action_space, Box):
        assert np.allclose(scaled, wanted * agent.family.action_space.high, atol=1e-6)
    else:
        assert np.array_equal(scaled, wanted)


@BOTH
def test_its_noise_is_handed_in(config: SB3Config) -> None:
    agent = MultiTask(family(), config)
    observation, noise = torch.randn(3, 5, 2), torch.randn(3, 5, 2)
    outputs = agent.learner.policy(agent.params, {}, observation)
    action, record = agent.learner.act(agent.params, {}, observation, noise)
    raw = outputs["mean"] + outputs["log_std"].exp() * noise
    assert torch.allclose(action, torch.tanh(raw) if config is SAC else raw)
    assert record == {}
    assert agent.learner.adapt(agent.params, {}, None) == agent.learner.initial(agent.params, 3) == {}


@BOTH
def test_training_is_a_function_of_the_seed(config: SB3Config) -> None:
    first = MultiTask(family(), config, seed=0).learn()
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
    agents = [MultiTask(family(), config, seed=seed) for seed in (0, 1)]
    while agents[0].num_timesteps < config.total_timesteps:  # in turns: neither draws from the other's numbers
        for agent in agents:
            agent.learn(1, reset_num_timesteps=False)
    assert equal(first.params, agents[0].params)
    assert equal(first.training_state(), agents[0].training_state())
    assert not equal(first.params, agents[1].params)
    after = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
    assert torch.equal(after[0], before[0])
    assert np.array_equal(after[1], before[1])
    assert after[2] == before[2]


@BOTH
def test_a_checkpoint_holds_the_agent(config: SB3Config, tmp_path: Path) -> None:
    agent = Oracle(FAMILY, config, variant=VARIANT, seed=3).learn()
    agent.save(tmp_path / "agent")
    loaded = Oracle.load(tmp_path / "agent")
    assert loaded.config == config
    assert equal(loaded.params, agent.params)
    assert equal(loaded.training_state(), agent.training_state())
    # Saved again without training, nothing is lost.
    loaded.save(tmp_path / "again")
    again, _ = load_checkpoint(tmp_path / "again")
    assert equal(again, load_checkpoint(tmp_path / "agent")[0])
    seen = np.array([0.1, -0.2, 0.3, 0.4], np.float32)
    assert np.array_equal(loaded.predict(seen, deterministic=True)[0], agent.predict(seen, deterministic=True)[0])
    # What goes on training is all there.
    with pytest.warns(InexactResume, match=r"oracle continues at 12\d steps.*not bit for bit"):
        resumed = loaded.model
    assert equal(loaded.training_state(), agent.training_state())
    assert resumed.num_timesteps == agent.num_timesteps
    assert resumed._n_updates > 0
    optimiser = resumed.policy.optimizer if config is PPO else resumed.policy.critic.optimizer
    assert len(optimiser.state_dict()["state"]) == len(optimiser.param_groups[0]["params"])
    assert not any(np.array_equal(a, b) for a, b in zip(*(_streams(m) for m in (resumed, agent.model)), strict=True))


def _streams(model: Any) -> Any:
    model.env.reset()
    return model.env.get_attr("task")[0].values()


def test_a_loaded_sac_acts_by_its_policy_from_the_first_step(tmp_path: Path) -> None:
    agent = Oracle(family(), SAC).learn()
    agent.save(tmp_path / "agent")
    loaded = Oracle.load(tmp_path / "agent", family())
    loaded.num_timesteps = 0  # as learn() has it, which counts from zero
    with pytest.warns(InexactResume):
        assert loaded.model.learning_starts == 0  # below it SB3 draws its actions


def test_a_checkpoint_holds_what_sac_learns_its_temperature_with(tmp_path: Path) -> None:
    agent = MultiTask(family(), SAC).learn()
    agent.save(tmp_path / "agent")
    tensors, about = load_checkpoint(tmp_path / "agent")
    assert tensors["training.log_ent_coef"] != 0
    assert tensors["training.ent_coef_optimizer/0/exp_avg"] != 0
    assert about["config"]["sac"]["ent_coef"] == "auto"
    fixed = MultiTask(family(), replace(SAC, sac=replace(SAC.sac, ent_coef=0.1))).learn()
    assert not any("ent_coef" in name for name in fixed.training_state())


def test_a_checkpoint_holds_the_normaliser(tmp_path: Path) -> None:
    agent = MultiTask(family(), PPO).learn()
    agent.save(tmp_path / "agent")
    loaded = MultiTask.load(tmp_path / "agent")
    mine = agent.model.get_vec_normalize_env()
    with pytest.warns(InexactResume):
        theirs = loaded.model.get_vec_normalize_env()
    assert mine is not None
    assert theirs is not None
    for name in ("obs_rms", "ret_rms"):
        one, other = vars(getattr(mine, name)), vars(getattr(theirs, name))
        assert all(np.array_equal(one[key], other[key]) for key in ("mean", "var", "count"))
    assert loaded.params["normaliser.mean"].abs().min() > 0
    plain = replace(PPO, ppo=replace(PPO.ppo, normalise_observations=False))
    assert not any(name.startswith("normaliser") for name in MultiTask(family(), plain).learn().params)


def test_an_agent_of_a_family_that_shows_its_task_loads_with_that_family(tmp_path: Path) -> None:
    shown = with_task(family())
    agent = MultiTask(shown, PPO).learn()
    agent.save(tmp_path / "agent")
    assert equal(MultiTask.load(tmp_path / "agent", shown).params, agent.params)
    with pytest.raises(MetaRLError, match="other parameters"):
        MultiTask.load(tmp_path / "agent")


def test_sac_fills_its_buffer_before_it_learns_on(tmp_path: Path) -> None:
    agent = MultiTask(family(), SAC).learn()
    agent.save(tmp_path / "agent")
    loaded = MultiTask.load(tmp_path / "agent")
    with pytest.warns(InexactResume):
        loaded.learn(1, reset_num_timesteps=False)
    assert equal(loaded.params, agent.params)
    assert loaded.model.replay_buffer is not None
    assert loaded.model.replay_buffer.size() * SAC.n_envs >= SAC.sac.learning_starts
    loaded.learn(1, reset_num_timesteps=False)
    assert not equal(loaded.params, agent.params)


@BOTH
def test_what_sb3_records_goes_into_the_runs_log(config: SB3Config, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", "multitask", FAMILY, VARIANT, config, (0,))
    train_run(run, TrainingOptions(seconds=0))
    folder = run.seed_folder(0)
    kept = rows(folder / "progress.csv")
    assert len(kept) >= 2
    assert float(kept[-1]["rollout/return"]) < 0
    assert float(kept[-1]["rollout/ep_len_mean"]) == 20
    assert float(kept[-1]["train/n_updates"]) > 0
    assert "train/actor_loss" in kept[-1] or "train/policy_gradient_loss" in kept[-1]
    assert {file.name.split(".")[0] for file in folder.iterdir()} == {"checkpoint", "progress", "events"}
    assert [int(row[STEPS]) for row in kept] == sorted(int(row[STEPS]) for row in kept)


@BOTH
def test_a_resumed_run_keeps_all_that_was_logged(
    config: SB3Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    iterate, done = SB3Agent.train_iteration, []

    def killed(agent: SB3Agent) -> tuple[int, dict[str, float]]:
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(agent)
        return iterate(agent)

    run = Run.create(folder, "oracle", FAMILY, VARIANT, config, (0,))
    with monkeypatch.context() as patch:
        patch.setattr(SB3Agent, "train_iteration", killed)
        with pytest.raises(KeyboardInterrupt):
            train_run(run, TrainingOptions(seconds=0))
    before = rows(folder / "seed-0" / "progress.csv")
    assert len(before) == 1
    run = Run.create(folder, "oracle", FAMILY, VARIANT, config, (0,), resume=True)
    with pytest.warns(InexactResume):
        train_run(run, TrainingOptions(seconds=0))
    after = rows(folder / "seed-0" / "progress.csv")
    assert len(after) > len(before)
    for mine, there in zip(before, after, strict=False):
        assert {name: there[name] for name in mine} == mine
    steps = [int(row[STEPS]) for row in after]
    assert steps == sorted(set(steps))
    assert steps[-1] >= config.total_timesteps
    assert run.about_training(0)["num_timesteps"] == steps[-1]


def test_commands_train_evaluate_and_compare_with_maml(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SB3Agent, "evaluation_points", 2)
    words = ["--variant", VARIANT, "--runs", str(tmp_path), "--json", "--config.total-timesteps", "64"]
    ppo = ["--config.n-envs", "4", "--config.ppo.n-steps", "16", "--config.ppo.batch-size", "32"]
    sac = ["--preset", "sac", "--config.n-envs", "4", "--config.sac.net-arch", "8", "--config.sac.log-every", "64"]
    main(["train", "oracle", FAMILY, "--name", "oracle", *words, *ppo, "--config.ppo.net-arch", "8"])
    main(["train", "multitask", FAMILY, "--name", "multitask", *words, *sac])
    capsys.readouterr()
    evaluations = []
    for name in ("oracle", "multitask"):
        main(["evaluate", str(tmp_path / name), "--tasks", "2"])
        assert "overview-test.png" in capsys.readouterr().out
        evaluations.append(evaluate_run(Run.open(tmp_path / name), n_tasks=2)[0])
    maml = Run.create(
        tmp_path / "maml", "maml", FAMILY, VARIANT, MAMLConfig(tasks=1, hidden=(4,), total_timesteps=1), (0,)
    )
    train_run(maml)
    evaluations.append(evaluate_run(maml, n_tasks=2)[0])
    assert [each.episodes for each in evaluations] == [(0, 20), (0, 20), (0, 20, 40, 60)]
    assert [row["episodes"] for row in comparison_json(evaluations)["separation"]] == [0, 20] * 3


def test_its_curve_has_the_points_of_mamls() -> None:
    assert MultiTask(Lever(), PPO).n_envs == MAMLConfig().episodes
    assert MultiTask(Lever(), PPO).evaluation_points == MAMLConfig().inner_steps + 1


def test_an_adapted_policy_is_the_policy() -> None:
    agent = Oracle(family(), PPO).learn()
    env = TaskEnv(agent.family, task={"goal": (0.1, 0.2)})
    adapted = agent.adapt(env, episodes=2)
    seen = env.reset(seed=0)[0]
    assert np.array_equal(adapted.predict(seen, deterministic=True)[0], agent.predict(seen, deterministic=True)[0])


def test_labels_and_configs_from_json() -> None:
    assert MultiTask.label(PRESETS["default"]) == "multitask"
    assert Oracle.label(replace(PRESETS["sac"], total_timesteps=5)) == "oracle-sac"
    assert Oracle.label(SAC) == "oracle-custom"
    saved = {"algorithm": "sac", "sac": {"net_arch": [8, 8], "ent_coef": 0.5}}
    wanted = SB3Config(algorithm="sac", sac=SACConfig(net_arch=(8, 8), ent_coef=0.5))
    assert config_from(SB3Config, saved) == wanted
    with pytest.raises(MetaRLError, match=r"SACConfig has no \['speed'\]"):
        config_from(SB3Config, {"sac": {"speed": 1}})


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (SB3Config, {"algorithm": "dqn"}),
        (SB3Config, {"n_envs": 0}),
        (SB3Config, {"total_timesteps": 0}),
        (PPOConfig, {"learning_rate": float("nan")}),
        (PPOConfig, {"batch_size": 1}),
        (PPOConfig, {"net_arch": (8, 0)}),
        (PPOConfig, {"log_std_init": float("inf")}),
        (SACConfig, {"tau": 0.0}),
        (SACConfig, {"gradient_steps": 0}),
        (SACConfig, {"ent_coef": "automatic"}),
        (SACConfig, {"ent_coef": -1.0}),
    ],
)
def test_bad_values_are_told(kind: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(MetaRLError, match=rf"{kind.__name__}\({next(iter(wrong))}=.* is out of range"):
        kind(**wrong)


def test_values_that_do_not_go_together_are_told() -> None:
    with pytest.raises(MetaRLError, match="16 × 5 = 80 steps, which do not divide into batches of 32"):
        replace(PPO, n_envs=5)
    with pytest.raises(MetaRLError, match="holds not even one step of n_envs=4"):
        replace(SAC, sac=replace(SAC.sac, buffer_size=3))
    with pytest.raises(MetaRLError, match=r"SAC acts in a Box, and Switch:default has Discrete\(2\)"):
        MultiTask(Switch(), SAC)


def test_environments_to_score_on_are_not_trained_on() -> None:
    agent = MultiTask(family(), PPO)
    held_out = TaskVecEnv(agent.family, PPO.n_envs, tasks="test", evaluation=True)
    agent.model.set_env(VecNormalize(VecMonitor(held_out)))
    before = agent.params
    with pytest.raises(MetaRLError, match=r"multitask was to train on a TaskVecEnv of metarl/\S+ with evaluation=True"):
        agent.learn()
    assert agent.params is before
    agent.model.set_env(VecNormalize(VecMonitor(TaskVecEnv(agent.family, PPO.n_envs))))
    agent.learn()


def test_sb3s_own_logger_is_not_used() -> None:
    agent = MultiTask(Lever(), PPO)
    agent.set_logger(Logger(folder=None, output_formats=[]))
    agent.train_iteration()
    assert agent.model.logger is not agent.logger
    assert agent.model.logger.dir is None


QUICK_PPO = SB3Config(
    n_envs=16,
    total_timesteps=3_000,
    ppo=PPOConfig(learning_rate=1e-2, n_steps=16, batch_size=128, n_epochs=8, net_arch=(16,)),
)
QUICK_SAC = SB3Config(
    algorithm="sac",
    n_envs=16,
    total_timesteps=2_000,
    sac=SACConfig(learning_rate=2e-2, learning_starts=160, batch_size=64, gradient_steps=1, net_arch=(16,), gamma=0.5),
)


@pytest.mark.parametrize(
    ("made", "config"),
    [(Lever(), QUICK_PPO), (Switch(), QUICK_PPO), (Lever(), QUICK_SAC)],
    ids=["ppo", "discrete", "sac"],
)
def test_knowing_the_task_pays(made: TaskFamily, config: SB3Config, learns: Learns) -> None:
    def score(seed: int) -> dict[str, float]:
        scores = {}
        for kind in (Oracle, MultiTask):
            agent = kind(made, config, seed=seed).learn()
            curve = adaptation_curve(agent.learner, agent.params, agent.family, made.splits.test, points=1, n_envs=20)
            assert curve.deterministic is not None
            scores[kind.name] = float(curve.deterministic.mean())
        # Without the task, what one lever pays the other costs.
        assert scores["multitask"] == pytest.approx(0, abs=1e-5)
        return scores

    # Of 4 that are to be had.
    learns(score, above={"oracle": 3.2})
