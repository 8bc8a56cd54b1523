"""Exported policies act as they do here, in onnxruntime and in torch alone: every agent, every memory."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metarl import MAML, PEARL, RL2, FineTune, MultiTask, Oracle, VariBAD
from metarl.agents.baselines.sb3_config import PRESETS, SB3Config
from metarl.agents.maml.config import MAMLConfig
from metarl.agents.maml.learner import MAMLLearner
from metarl.algorithm.adapted_policy import AdaptedPolicy
from metarl.cli.main import main
from metarl.core.errors import MetaRLError
from metarl.core.types import Outputs, Params, State
from metarl.evaluation.agent import adapted_to
from metarl.experiments.run import Run
from metarl.experiments.training import train_run
from metarl.family.views.single import TaskEnv

POINT, GRID, SPARSE = "metarl/PointNavigation-v0", "metarl/GridNavi-v0", "metarl/SparseSemicircle-v0"
WITHIN = 1e-5
Step = Callable[..., list[np.ndarray[Any, Any]]]


def adapted(agent: Any, episodes: int) -> tuple[AdaptedPolicy, TaskEnv]:
    """An agent's policy after some episodes of a held-out task; its weights moved, so that they are no special ones."""
    generator = torch.Generator().manual_seed(0)
    agent.params = {k: v + 0.05 * torch.randn(v.shape, generator=generator).to(v) for k, v in agent.params.items()}
    env = TaskEnv(agent.family, task=agent.family.splits.test[0])
    return (agent.adapt(env, episodes) if episodes else agent.policy()), env


def onnx_step(path: Path) -> tuple[Step, dict[str, Any]]:
    """The step of an exported policy in onnxruntime, and inputs of zeros by name."""
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    kinds = {"tensor(float)": np.float32, "tensor(bool)": bool, "tensor(int64)": np.int64, "tensor(double)": float}
    inputs = session.get_inputs()
    zeros = {i.name: np.zeros([d if isinstance(d, int) else 1 for d in i.shape], kinds[i.type]) for i in inputs}
    return lambda **given: session.run(None, given), zeros


FIXED: dict[str, tuple[Callable[[], Any], int]] = {
    "maml": (lambda: MAML(POINT), 20),
    "maml-discrete": (lambda: MAML("metarl/CartPole-v0", variant="reversed"), 3),
    "finetune": (lambda: FineTune(POINT), 20),
    "pearl": (lambda: PEARL(SPARSE, variant="pearl"), 3),
    "multitask": (lambda: MultiTask(POINT), 1),
    "multitask-sac": (lambda: MultiTask(POINT, PRESETS["sac"]), 1),
    "multitask-discrete": (lambda: MultiTask(GRID), 1),
    "oracle": (lambda: Oracle(POINT, SB3Config()), 1),
}


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_a_policy_that_does_not_learn_while_it_acts(name: str, suffix: str, tmp_path: Path) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxscript", reason="needs the extra onnx")
    make, episodes = FIXED[name]
    policy, env = adapted(make(), episodes)
    policy.export(path := tmp_path / f"policy{suffix}")
    random = np.random.default_rng(0)
    seen = random.normal(size=(7, *env.observation_space.shape)).astype(np.float32)
    noise = policy.learner.episode_noise.n
    drawn = random.normal(size=noise).astype(np.float32)
    if noise:  # drawn by predict itself, so what it drew goes in by hand
        state = policy.learner.begin_episode(policy.params, policy.state, torch.as_tensor(drawn)[None])
        wanted = [policy.predict(one, state, False, deterministic=True)[0] for one in seen]
    else:
        wanted = policy.predict(seen, deterministic=True)[0]
    if suffix == ".pt2":
        module = torch.export.load(path).module()
        found = module(torch.as_tensor(seen), *([torch.as_tensor(drawn)] if noise else [])).numpy()
    else:
        step, _ = onnx_step(path)
        (found,) = step(observation=seen, **({"episode_noise": drawn} if noise else {}))
    np.testing.assert_allclose(found, np.asarray(wanted), rtol=0, atol=WITHIN)


ONLINE: dict[str, Callable[[], Any]] = {
    **{
        f"rl2-{memory}": (lambda memory=memory: RL2(GRID, RL2.config_class(memory=memory)))
        for memory in ("external", "gru", "lstm", "snail", "transformer")
    },
    "rl2-continuous": lambda: RL2(POINT, RL2.config_class(normalise_observations=True, normalise_rewards=True)),
    "varibad": lambda: VariBAD(GRID),
}


@pytest.mark.parametrize("episodes", [0, 2])
@pytest.mark.parametrize("name", ONLINE)
def test_a_policy_that_learns_while_it_acts(name: str, episodes: int, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    policy, env = adapted(ONLINE[name](), episodes)
    policy.export(path := tmp_path / "policy.onnx")
    step, memory = onnx_step(path)
    played = 0
    for there in play(policy, env):
        memory |= there["inputs"]
        action, *state = step(**memory)
        np.testing.assert_allclose(action[0], there["action"], rtol=0, atol=WITHIN)
        memory |= dict(zip((each for each in memory if each.startswith("state.")), state, strict=True))
        played += 1
    assert played > 20


@pytest.mark.parametrize("memory", ["gru", "transformer"])
def test_what_learns_while_it_acts_runs_in_torch_alone_too(memory: str, tmp_path: Path) -> None:
    policy, env = adapted(ONLINE[f"rl2-{memory}"](), 1)
    policy.export(path := tmp_path / "policy.pt2")
    program = torch.export.load(path)
    *_, state = program.example_inputs[0]
    module = program.module()
    for there in play(policy, env):
        given = [torch.as_tensor(value) for value in there["inputs"].values()]
        action, state = module(*given, state)
        np.testing.assert_allclose(action[0], there["action"], rtol=0, atol=WITHIN)


def play(policy: AdaptedPolicy, env: TaskEnv) -> Any:
    """Two episodes by ``predict``; for each call what an exported step is given, and the action."""
    memory, reward, first = None, 0.0, True
    for episode in range(2):
        observation, over, begins = env.reset(seed=0 if episode == 0 else None)[0], False, True
        while True:
            given = None if first or begins else reward
            action, memory = policy.predict(observation, memory, begins or over, deterministic=True, reward=given)
            yield {
                "inputs": {
                    "observation": observation[None],
                    "reward": np.array([np.nan if given is None else given], np.float32),
                    "episode_start": np.array([begins or over]),
                    "trial_start": np.array([first]),
                },
                "action": action,
            }
            first = begins = False
            if over:
                break
            observation, earned, terminated, truncated, _ = env.step(action)
            reward, over = float(earned), terminated or truncated


def test_the_command_writes_an_adapted_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = MAMLConfig(total_timesteps=240, tasks=2, episodes=3, hidden=(4,), inner_steps=1, epochs=1)
    run = Run.create(tmp_path / "run", "maml", POINT, "pearl", config, [0])
    train_run(run, quiet=True)
    path = tmp_path / "policy.pt2"
    main(["export", str(run.path), "--task", "1", "--episodes", "2", "--output", str(path)])
    assert capsys.readouterr().out == f"Saved {path}, adapted to 2 episodes\n"
    agent = run.trained(0)
    policy = agent.adapt(TaskEnv(agent.family, task=agent.family.splits.test[1]), 2)
    seen = np.array([[0.1, -0.2]], np.float32)
    found = torch.export.load(path).module()(torch.as_tensor(seen)).numpy()
    np.testing.assert_allclose(found, policy.predict(seen, deterministic=True)[0], rtol=0, atol=WITHIN)


def test_bad_input_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = MAML(POINT).policy()
    with pytest.raises(MetaRLError, match=r"policy.pt: the suffix is none of \.onnx, \.pt2"):
        policy.export(tmp_path / "policy.pt")
    with pytest.raises(MetaRLError, match="--task 100: the test part has 100 tasks; choose 0 to 99"):
        adapted_to(MAML(POINT), task=100)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MetaRLError, match=r"pip install 'metarl-suite\[onnx\]'"):
        policy.export(tmp_path / "policy.onnx")
    assert list(tmp_path.iterdir()) == []


class LooksAtValues(MAMLLearner):
    """A learner that decides by a value, which no graph of operations can."""

    def policy(self, params: Params, state: State, observation: Tensor) -> Outputs:
        outputs = super().policy(params, state, observation)
        return outputs if bool(observation.sum() > 0) else {**outputs, "mean": -outputs["mean"]}


def test_a_learner_that_cannot_be_traced_is_named(tmp_path: Path) -> None:
    agent = MAML(POINT)
    agent.learner = LooksAtValues(agent.family.observation_space, agent.family.action_space, agent.config)
    with pytest.raises(MetaRLError, match="torch cannot export LooksAtValues"):
        agent.policy().export(tmp_path / "policy.pt2")
    assert list(tmp_path.iterdir()) == []
