"""A family, a memory, an encoder and an agent from a folder outside the repository: one short file each, no edit."""

import ast
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metarl import RL2, MetaRLError
from metarl.adapt.memory.base import Memory
from metarl.adapt.memory.registry import make_memory, memories_by_name
from metarl.algorithm.registry import agent_class, agents_by_name
from metarl.cli.main import main
from metarl.evaluation.agent import evaluate
from metarl.family.registry import families_by_id
from metarl.fewshot.backbone import Dense
from metarl.fewshot.data.episodes import Support
from metarl.fewshot.learners.memory import MemoryLearner, MemoryLearnerConfig

pytestmark = pytest.mark.usefixtures("installed_families_only")

FAMILY = '''
import torch
from gymnasium.spaces import Box
from metarl import FunctionPolicy, TaskSpace, TorchFamily, Uniform, register_family

@register_family("outside/Line-v0")
class Line(TorchFamily):
    """Reach a place on a line that is not seen."""
    tasks = TaskSpace(goal=Uniform(-0.5, 0.5))
    observation_space, action_space = Box(-2, 2, (1,)), Box(-0.2, 0.2, (1,))
    horizon, episodes_per_trial = 6, 2
    floor, optimum = "stay", "go"

    def reset(self, task, u):
        return {"x": torch.zeros_like(task["goal"])}

    def step(self, state, action, task, u):
        x = state["x"] + action[:, 0]
        return {"x": x}, -(x - task["goal"]).abs(), torch.zeros_like(x, dtype=torch.bool)

    def observe(self, state, task):
        return state["x"][:, None]

    def reference_policies(self):
        return {"stay": FunctionPolicy(lambda x, task, step: 0 * x),
                "go": FunctionPolicy(lambda x, task, step: 5 * (task["goal"][:, None, None] - x))}
'''

MEMORY = '''
from dataclasses import dataclass
import torch
from metarl import Memory, register_memory

@dataclass(frozen=True, kw_only=True)
class LeakyConfig:
    """Options of the leaky memory."""
    leak: float = 0.5  # share that a step forgets

@register_memory("leaky")
class Leaky(Memory):
    """A leaky sum of what a linear layer makes of the inputs."""
    config_class = LeakyConfig

    def init(self, generator):
        return {"memory.weight": torch.randn(self.width, self.n_inputs, generator=generator) / self.n_inputs}

    def initial(self, params, n_tasks):
        return {"memory.sum": params["memory.weight"].new_zeros(n_tasks, self.width)}

    def step(self, params, state, x):
        return {"memory.sum": (1 - self.config.leak) * state["memory.sum"] + x @ params["memory.weight"].T}

    def read(self, params, state):
        return state["memory.sum"].tanh()
'''

AGENT = '''
import torch
from metarl import RL2, register_agent
from metarl.agents.rl2.ppo import TrialPPO

class PolicyGradient(TrialPPO):
    """The plain policy gradient in place of PPO's clipped surrogate."""
    def surrogate(self, log_prob, old_log_prob, advantage):
        return log_prob * advantage, torch.zeros_like(advantage, dtype=torch.bool)

@register_agent("rl2-plain")
class PlainRL2(RL2):
    """RL² trained by the plain policy gradient, in one pass."""
    name = "rl2-plain"
    outer_class = PolicyGradient
    presets = {"default": RL2.config_class(epochs=1, minibatches=1, tasks=8)}
'''

ENCODER = '''
from torch import nn

class Features(nn.Module):
    """A hidden layer on observations."""
    def __init__(self, shape):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(shape[0], 6), nn.LayerNorm(6), nn.ReLU())

    def forward(self, x):
        return self.net(x)
'''

LINES = {"encoder": (ENCODER, 20), "line": (FAMILY, 25), "leaky": (MEMORY, 100), "plain": (AGENT, 60)}
SMALL = ["--config.total-timesteps", "200", "--config.width", "8", "--config.embedding", "0"]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """``outside(words)`` runs a command in a folder that holds the files, and gives its exit code and what it said."""
    for name, (source, _) in LINES.items():
        (tmp_path / f"outside_{name}.py").write_text(source.lstrip())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        code = 0
        try:
            main(words)
        except SystemExit as end:
            code = int(end.code or 0)
        out, error = capsys.readouterr()
        return code, out + error

    return run


def forget() -> None:
    """Leave the process as one that has imported none of the files."""
    for registry in (memories_by_name, agents_by_name, families_by_id):
        for name, cls in list(registry.classes.items()):
            if cls.__module__.startswith("outside_"):
                del registry.classes[name]
    for name in [name for name in sys.modules if name.startswith("outside_")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", LINES)
def test_each_is_short(name: str) -> None:
    source, most = LINES[name]
    ast.parse(source)
    lines = [line for line in source.splitlines() if line.strip()]
    assert len(lines) <= most


def test_all_of_them_train_and_are_scored_and_no_file_decides_what_is_imported(
    outside: Callable[..., tuple[int, str]],
) -> None:
    train = ["train", "outside_plain:PlainRL2", "outside_line:outside/Line-v0", "--name", "run", *SMALL]
    memory = ["--config.memory", "outside_leaky:Leaky", "--config.memory-options", "leak=0.2"]
    code, said = outside(*train, *memory)
    assert code == 0, said
    forget()
    own = ["--family", "outside_line:outside/Line-v0", "--agent", "outside_plain:PlainRL2"]
    code, said = outside("evaluate", "runs/run", *own, "--tasks", "5")
    assert code == 2
    assert "'outside_leaky:Leaky', whose module 'outside_leaky' is not installed" in said
    assert "say --trust outside_leaky:Leaky" in said
    assert "outside_leaky" not in sys.modules
    code, said = outside("evaluate", "runs/run", *own, "--trust", "outside_leaky:Leaky", "--tasks", "5")
    assert code == 0, said
    assert "rl2-plain" in said


@pytest.mark.usefixtures("outside")
def test_a_checkpoint_in_python_needs_the_same_word() -> None:
    config = RL2.config_class(memory="outside_leaky:Leaky", tasks=4, total_timesteps=40, width=8)
    agent = RL2("metarl/BernoulliBandit-v0", config).learn()
    agent.save("agent.safetensors")
    forget()
    with pytest.raises(MetaRLError, match="trust='outside_leaky:Leaky'"):
        RL2.load("agent.safetensors")
    loaded = RL2.load("agent.safetensors", trust="outside_leaky:Leaky")
    assert (evaluate(loaded, tasks=3).returns == evaluate(agent, tasks=3).returns).all()


def test_a_memory_serves_varibad_and_a_few_shot_learner_too(outside: Callable[..., tuple[int, str]]) -> None:
    bandit = ["train", "varibad", "metarl/BernoulliBandit-v0", "--name", "belief", *SMALL]
    code, said = outside(*bandit, "--config.memory", "outside_leaky:Leaky", "--config.vae-updates", "1")
    assert code == 0, said

    class Leaky(MemoryLearner):
        def make_memory(self, n_inputs: int) -> Memory:
            return make_memory("outside_leaky:Leaky", n_inputs, 8, options=("leak=0.1",))

    learner = Leaky(Dense((3, 8, 8)), 2, MemoryLearnerConfig(embedding=4))
    params = learner.init(torch.Generator().manual_seed(0))
    x, y = torch.randn(2, 4, 3), torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1]])
    state = learner.adapt(params, learner.initial(params, 2), Support(x, y))
    assert learner.query(params, state, x)["logits"].shape == (2, 4, 2)


@pytest.mark.usefixtures("outside")
def test_any_module_encodes_the_observations_of_an_agent() -> None:
    name = "outside_encoder:Features"
    memory = {"encoder": name, "tasks": 4, "minibatches": 1, "epochs": 1, "width": 8}
    agents = {
        "maml": ("policy.", {"encoder": name, "tasks": 4, "episodes": 2, "inner_steps": 1}),
        "pearl": ("", {"observation_encoder": name, "train_tasks": 4, "tasks": 2, "meta_batch": 2, "updates": 2}),
        "rl2": ("", memory),
        "varibad": ("", {**memory, "vae_updates": 1, "vae_tasks": 4}),
    }
    for agent, (prefix, options) in agents.items():
        cls = agent_class(agent)
        made = cls("metarl/GridNavi-v0", cls.config_class(**options))
        weight = next(each for each in made.params if each.endswith("encoder.net.0.weight") and prefix in each)
        before = made.params[weight].clone()
        made.learn(60)
        assert not torch.equal(made.params[weight], before)
        made.save("agent.safetensors")
        forget()
        with pytest.raises(MetaRLError, match=f"trust='{name}'"):
            cls.load("agent.safetensors")
        loaded = cls.load("agent.safetensors", trust=name)
        assert (evaluate(loaded, tasks=3).returns == evaluate(made, tasks=3).returns).all()
    with pytest.raises(MetaRLError, match="set state_coef=0"):
        cls("metarl/GridNavi-v0", cls.config_class(encoder=name, state_coef=1.0))
    with pytest.raises(MetaRLError, match="has no 'Nothing'"):
        cls("metarl/GridNavi-v0", cls.config_class(encoder="outside_encoder:Nothing"))
