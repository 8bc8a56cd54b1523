"""Rollouts, agents and few-shot learners on a GPU: the CPU's numbers for the same seed, and no waiting on the way.

Without a GPU an iteration of every agent is seen to keep to its device, on torch's meta device: there every operation
between tensors of two devices raises, as it would on a GPU. Numbers that learning reads are ones.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.agents.baselines import FineTune
from metarl.agents.maml import MAML
from metarl.agents.pearl import PEARL
from metarl.agents.rl2 import RL2
from metarl.agents.varibad import VariBAD
from metarl.algorithm.algorithm import Algorithm
from metarl.core import random
from metarl.core.random import stream_keys
from metarl.core.trajectory import Trajectory
from metarl.envs import FAMILIES
from metarl.envs.engine.torch import TorchFamily
from metarl.evaluation.driver import adaptation_curve
from metarl.family.registry import family_class
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.data.registry import make_dataset
from metarl.fewshot.learners.registry import learner_class, learner_names, preset_config
from metarl.fewshot.model import FewShot
from metarl.rollout import recording
from metarl.rollout.context import RolloutContext
from metarl.rollout.rollout import rollout

OURS = [name for name in FAMILIES if issubclass(family_class(name), TorchFamily)]
CASES = [(name, variant) for name in OURS for variant in family_class(name).variants()]
POINT, GRID = ("metarl/PointNavigation-v0", "pearl"), ("metarl/GridNavi-v0", "varibad")
CART, SEMICIRCLE = ("metarl/CartPole-v0", "reversed"), ("metarl/SparseSemicircle-v0", "pearl")
_SMALL: dict[str, Any] = {"tasks": 6, "minibatches": 2, "width": 8}
_PEARL: dict[str, Any] = {"train_tasks": 8, "tasks": 4, "meta_batch": 4, "updates": 3, "posterior_episodes": 2}
AGENTS: dict[str, tuple[type[Algorithm], tuple[str, str], dict[str, Any]]] = {
    "maml-ppo": (MAML, POINT, {"tasks": 4, "episodes": 3, "hidden": (8,)}),
    "maml-trpo": (MAML, POINT, {"tasks": 4, "episodes": 3, "hidden": (8,), "outer": "trpo", "outer_steps": "last"}),
    "maml-discrete": (MAML, CART, {"tasks": 4, "episodes": 3, "hidden": (8,)}),
    "finetune": (FineTune, POINT, {"tasks": 4, "episodes": 3, "hidden": (8,)}),
    "rl2-gru": (RL2, GRID, _SMALL),
    "rl2-lstm": (RL2, CART, {**_SMALL, "memory": "lstm", "normalise_observations": True}),
    "rl2-transformer": (RL2, GRID, {**_SMALL, "memory": "transformer", "memory_options": ("layers=1",)}),
    "rl2-external": (RL2, GRID, {**_SMALL, "memory": "external", "width": 16}),
    "rl2-snail": (RL2, GRID, {**_SMALL, "memory": "snail", "memory_options": ("layers=1",)}),
    "varibad": (VariBAD, GRID, _SMALL),
    "pearl": (PEARL, POINT, _PEARL),
    "pearl-transitions": (PEARL, SEMICIRCLE, {**_PEARL, "context": "transitions", "value_network": True}),
}


def make(name: str, device: str) -> Algorithm:
    agent, family, options = AGENTS[name]
    return agent(family[0], replace(agent.config_class(), **options), variant=family[1], device=device)


def close(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float) -> None:
    """The same names, every tensor of ours on the GPU, the same numbers."""
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(
            value.cpu(), theirs[name], rtol=tolerance, atol=tolerance, msg=lambda text, n=name: f"{n}: {text}"
        )


def play(name: str, variant: str, device: str, **options: Any) -> tuple[Trajectory, dict[str, Tensor]]:
    family = family_class(name)(variant)
    agent = MAML(family, MAML.config_class(hidden=(8,)), device=device)
    tasks = family.tasks.sample(stream_keys(6, 0, "task")).repeat(3)
    batch = family.batch(tasks, stream_keys(18, 0, "test"), device)
    return rollout(agent.learner, agent.params, agent.learner.initial(agent.params, 6), batch, n_envs=3, **options)


@pytest.fixture
def exact() -> Iterator[None]:
    """Convolutions, recurrent passes and products in 32 bits, where a GPU would take 19."""
    switches = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [switch.allow_tf32 for switch in switches]
    for switch in switches:
        switch.allow_tf32 = False
    yield
    for switch, value in zip(switches, before, strict=True):
        switch.allow_tf32 = value


@pytest.mark.parametrize("compile", [False, True], ids=["piecewise", "captured"])
@pytest.mark.parametrize(("name", "variant"), CASES)
def test_a_rollout_is_that_of_the_cpu(name: str, variant: str, compile: bool, cuda: str) -> None:
    there, here = (
        play(name, variant, device, episodes=2, context=RolloutContext(compile))[0] for device in (cuda, "cpu")
    )
    assert there.reward.device.type == torch.device(cuda).type
    assert torch.equal(there.lengths.cpu(), here.lengths)
    for field in ("observation", "action", "reward", "final_observation"):
        torch.testing.assert_close(getattr(there, field).cpu(), getattr(here, field), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.usefixtures("exact")
def test_training_is_that_of_the_cpu(name: str, cuda: str) -> None:
    there, here = make(name, cuda), make(name, "cpu")
    close(there.params, here.params, 0)
    for agent in (there, here):
        agent.train_until(1)  # one iteration; more, and rounding becomes another choice of a discrete action
    assert there.num_timesteps == here.num_timesteps
    close(there.params, here.params, 5e-3)


@pytest.mark.parametrize("name", AGENTS)
def test_training_goes_on_from_its_file(name: str, cuda: str, tmp_path: Path) -> None:
    agent = make(name, cuda)
    agent.train_until(1)
    agent.save(tmp_path / "agent")
    loaded = type(agent).load(tmp_path / "agent", device=cuda)
    more = agent.num_timesteps + 1
    for each in (agent, loaded):
        each.train_until(more)
    close(loaded.params, {key: value.cpu() for key, value in agent.params.items()}, 1e-3)


@pytest.mark.parametrize("name", ["maml-ppo", "rl2-gru", "varibad", "pearl"])
def test_an_evaluation_is_that_of_the_cpu(name: str, cuda: str) -> None:
    curves = []
    for device in (cuda, "cpu"):
        agent = make(name, device)
        tasks = agent.family.tasks.sample(stream_keys(5, 0, "task"))
        curves.append(
            adaptation_curve(
                agent.learner, agent.params, agent.family, tasks, points=3, n_envs=agent.n_envs, device=device
            )
        )
    torch.testing.assert_close(*(torch.from_numpy(curve.returns) for curve in curves), rtol=1e-2, atol=1e-2)


@pytest.fixture(scope="module")
def strokes() -> FewShotDataset:
    return make_dataset("strokes")


OF_CLASSES = pytest.mark.parametrize("name", [name for name in learner_names() if learner_class(name).of_classes])


@OF_CLASSES
@pytest.mark.usefixtures("exact")
def test_a_few_shot_gradient_is_that_of_the_cpu(name: str, strokes: FewShotDataset, cuda: str) -> None:
    config = replace(preset_config(name), tasks=2, width=8)
    found = []
    for device in (cuda, "cpu"):
        model = FewShot(name, strokes, config, device=device)
        random = torch.Generator().manual_seed(0)
        episodes = strokes.split("train").to(device).draw(config.episode, config.tasks, random)
        found.append(model.learner.gradient(model.params, episodes))
    (there, logged), (here, expected) = found
    assert logged == pytest.approx(expected, rel=1e-3, abs=1e-4)
    # Against the whole gradient's length: where nearly nothing flows, rounding is all there is.
    whole = torch.stack([value.norm() for value in here.values()]).norm()
    for key, value in there.items():
        assert value.device.type == torch.device(cuda).type
        assert (value.cpu() - here[key]).norm() < 1e-2 * whole, key


@OF_CLASSES
@pytest.mark.usefixtures("exact")
def test_a_few_shot_learner_is_trained_scored_and_kept_on_the_gpu(
    name: str, strokes: FewShotDataset, cuda: str, tmp_path: Path
) -> None:
    config = replace(preset_config(name), tasks=2, width=8, iterations=3)
    model = FewShot(name, strokes, config, device=cuda).fit(strokes, iterations=2)
    model.save(tmp_path / "model")
    shape = EpisodeSpec(5, 1, 5)
    scores = [
        FewShot.load(tmp_path / "model", device).score(strokes.split("test"), shape, 20).at().mean()
        for device in (cuda, "cpu")
    ]
    assert abs(scores[0] - scores[1]) < 0.03  # of 500 queries; near a border rounding decides
    assert model.cost(strokes.split("test"), shape).bytes > 0
    loaded = FewShot.load(tmp_path / "model", cuda)
    for each in (model, loaded):
        each.fit(strokes, iterations=1)
    close(loaded.params, {key: value.cpu() for key, value in model.params.items()}, 1e-3)
    images = strokes.split("test").samples[:4].numpy()
    assert set(loaded.adapt(images, ["a", "a", "b", "b"]).predict(images)) <= {"a", "b"}


@pytest.mark.parametrize("name", ["maml", "meta-sgd", "neural-process"])
def test_regression_is_that_of_the_cpu(name: str, cuda: str) -> None:
    sinusoid = make_dataset("sinusoid")
    config = preset_config(name, "sinusoid" if "sinusoid" in learner_class(name).presets else "default")
    config = replace(config, tasks=2, iterations=2)
    there, here = (FewShot(name, sinusoid, config, device=device).fit(sinusoid) for device in (cuda, "cpu"))
    close(there.params, here.params, 1e-3)


@pytest.mark.parametrize("compile", [False, True], ids=["piecewise", "captured"])
@pytest.mark.parametrize("name", ["maml-ppo", "maml-discrete", "rl2-gru", "rl2-transformer", "varibad", "pearl"])
def test_no_rollout_waits_for_the_gpu(name: str, compile: bool, cuda: str, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = make(name, cuda)
    tasks = agent.family.tasks.sample(stream_keys(6, 0, "task")).repeat(agent.n_envs)
    batch = agent.family.batch(tasks, stream_keys(6 * agent.n_envs, 0, "test"), cuda)
    state = agent.learner.initial(agent.params, 6)

    context = RolloutContext(compile)

    def go(episode: int) -> Trajectory:
        options: dict[str, Any] = {"n_envs": agent.n_envs, "episodes": 2, "first_episode": episode, "context": context}
        return rollout(agent.learner, agent.params, state, batch, **options)[0]

    go(0)  # makes what is kept: the limits of the action space, a captured step
    reads: list[int] = []
    read: Callable[[Tensor], list[int]] = recording.read

    def once(flags: Tensor) -> list[int]:
        reads.append(flags.numel())
        torch.cuda.set_sync_debug_mode("default")
        values = read(flags)
        torch.cuda.set_sync_debug_mode("error")
        return values

    monkeypatch.setattr(recording, "read", once)
    torch.cuda.set_sync_debug_mode("error")
    try:
        go(2)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert reads == [2]


READS: dict[str, Callable[[Tensor], Any]] = {
    "__int__": lambda _: 1,
    "__float__": lambda _: 1.0,
    "__bool__": lambda _: True,
    "item": lambda _: 1.0,
    "tolist": lambda x: torch.ones(x.shape).tolist(),
    "cpu": lambda x: torch.ones(x.shape, dtype=x.dtype),
    "nonzero": lambda x: torch.zeros(1, x.ndim, dtype=torch.int64, device=x.device),
}


@pytest.fixture
def meta(monkeypatch: pytest.MonkeyPatch) -> str:
    """The device, made as good as a real one for agents."""
    for name, answer in READS.items():
        real = getattr(Tensor, name)

        def read(x: Tensor, *a: Any, real: Any = real, answer: Any = answer, **k: Any) -> Any:
            return answer(x) if x.is_meta else real(x, *a, **k)

        monkeypatch.setattr(Tensor, name, read)
    for module in ("metarl.envs.engine.torch", "metarl.algorithm.algorithm"):
        monkeypatch.setattr(f"{module}.check_device", torch.device)
    # Ten rounds of operations that are slow on this device, and an optimiser in one kernel, which it does not have.
    philox = random.philox

    def numbers(counter: tuple[Tensor, ...], key: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return torch.broadcast_tensors(*counter, *key)[:4] if counter[0].is_meta else philox(counter, key)

    monkeypatch.setattr(random, "philox", numbers)
    adam = torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda params, fused=None, **options: adam(params, **options))
    return "meta"


# Fine-tuning ends with an evaluation, whose numbers go to the CPU.
@pytest.mark.parametrize("name", [name for name in AGENTS if name != "finetune"])
def test_an_iteration_keeps_to_its_device(name: str, meta: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, (family, variant), options = AGENTS[name]
    short = family_class(family)(variant)
    vars(short)["horizon"] = min(short.horizon, 3)
    monkeypatch.setattr(recording, "read", lambda _: [short.horizon, 1])
    agent = made(short, replace(made.config_class(), **options), device=meta)
    agent.train_until(1)
    assert agent.num_timesteps > 0
    assert {value.device.type for value in agent.params.values()} == {"meta"}
