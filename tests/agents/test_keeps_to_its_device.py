"""An iteration of every agent, collecting and learning, keeps to its device: seen without a GPU on torch's meta device.

There every operation between tensors of two devices raises, as it would on a GPU. Numbers that learning reads are ones.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.agents.maml import MAML
from metarl.agents.pearl import PEARL
from metarl.agents.rl2 import RL2
from metarl.agents.varibad import VariBAD
from metarl.algorithm import Algorithm
from metarl.family.registry import family_class
from metarl.rollout import random, recording

POINT, GRID = ("metarl/PointNavigation-v0", "pearl"), ("metarl/GridNavi-v0", "varibad")
CART, SEMICIRCLE = ("metarl/CartPole-v0", "reversed"), ("metarl/SparseSemicircle-v0", "pearl")
_MAML: dict[str, Any] = {"tasks": 4, "episodes": 3, "hidden": (8,)}
_RL2: dict[str, Any] = {"tasks": 6, "minibatches": 2, "width": 8}
_PEARL: dict[str, Any] = {"train_tasks": 8, "tasks": 4, "meta_batch": 4, "updates": 2, "posterior_episodes": 2}
AGENTS: dict[str, tuple[type[Algorithm], tuple[str, str], dict[str, Any]]] = {
    "maml-ppo": (MAML, POINT, _MAML),
    "maml-trpo": (MAML, POINT, {**_MAML, "outer": "trpo", "outer_steps": "last"}),
    "maml-discrete": (MAML, CART, _MAML),
    "rl2-gru": (RL2, GRID, _RL2),
    "rl2-lstm": (RL2, CART, {**_RL2, "memory": "lstm", "normalise_observations": True}),
    "rl2-transformer": (RL2, GRID, {**_RL2, "memory": "transformer", "layers": 1}),
    "rl2-external": (RL2, GRID, {**_RL2, "memory": "external", "width": 16}),
    "rl2-snail": (RL2, GRID, {**_RL2, "memory": "snail", "layers": 1}),
    "varibad": (VariBAD, GRID, _RL2),
    "pearl": (PEARL, POINT, _PEARL),
    "pearl-transitions": (PEARL, SEMICIRCLE, {**_PEARL, "context": "transitions", "value_network": True}),
}
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
    for module in ("metarl.envs.engine.torch", "metarl.algorithm"):
        monkeypatch.setattr(f"{module}.check_device", torch.device)
    # Ten rounds of operations that are slow on this device, and an optimiser in one kernel, which it does not have.
    philox = random.philox

    def numbers(counter: tuple[Tensor, ...], key: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return torch.broadcast_tensors(*counter, *key)[:4] if counter[0].is_meta else philox(counter, key)

    monkeypatch.setattr(random, "philox", numbers)
    adam = torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda params, fused=None, **options: adam(params, **options))
    return "meta"


@pytest.mark.parametrize("name", AGENTS)
def test_an_iteration_keeps_to_its_device(name: str, meta: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, (family, variant), options = AGENTS[name]
    short = family_class(family)(variant)
    vars(short)["horizon"] = min(short.horizon, 3)
    monkeypatch.setattr(recording, "read", lambda _: [short.horizon, 1])
    agent = made(short, replace(made.config_class(), **options), device=meta)
    agent.train_until(1)
    assert agent.num_timesteps > 0
    assert {value.device.type for value in agent.params.values()} == {"meta"}
