"""No rollout waits for its device: seen without a GPU on torch's meta device, whose tensors have no numbers to read."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import gymnasium
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from metarl.agents.baselines import FineTune
from metarl.agents.maml import MAML
from metarl.agents.pearl import PEARL
from metarl.agents.rl2 import RL2
from metarl.agents.varibad import VariBAD
from metarl.algorithm.algorithm import Algorithm
from metarl.core import random
from metarl.core.actions import ActionMap
from metarl.core.random import Domain, stream_keys, uniforms
from metarl.core.trajectory import Trajectory
from metarl.envs import FAMILIES
from metarl.envs.engine.torch import TorchFamily
from metarl.family.registry import family_class
from metarl.rollout import recording
from metarl.rollout.recording import Recording
from metarl.rollout.rollout import rollout

HORIZON, TASKS, LANES = 2, 4, 2
# What makes the host wait: a number read, or as many results as there are true elements.
READS = {"_local_scalar_dense", "item", "is_nonzero", "nonzero", "masked_select", "equal", "unique_dim", "_unique2"}
# What Python's numbers go to the device by: a copy that waits.
COPIES = {"tensor", "as_tensor", "asarray", "from_numpy", "new_tensor", "cpu", "numpy", "tolist"}

OURS = [name for name in FAMILIES if issubclass(family_class(name), TorchFamily)]
CASES = [(name, variant) for name in OURS for variant in family_class(name).variants()]
AGENTS: dict[str, tuple[type[Algorithm], dict[str, Any]]] = {
    "maml": (MAML, {"tasks": TASKS, "episodes": LANES, "hidden": (8,)}),
    "finetune": (FineTune, {"tasks": TASKS, "episodes": LANES, "hidden": (8,)}),
    "rl2-gru": (RL2, {"tasks": TASKS, "minibatches": 1, "width": 8}),
    "rl2-lstm": (RL2, {"tasks": TASKS, "minibatches": 1, "memory": "lstm", "normalise_observations": True}),
    "rl2-transformer": (
        RL2,
        {"tasks": TASKS, "minibatches": 1, "memory": "transformer"},
    ),
    "rl2-external": (RL2, {"tasks": TASKS, "minibatches": 1, "memory": "external"}),
    "rl2-snail": (RL2, {"tasks": TASKS, "minibatches": 1, "memory": "snail"}),
    "varibad": (VariBAD, {"tasks": TASKS, "minibatches": 1, "width": 8}),
    "pearl-product": (PEARL, {"tasks": TASKS}),
    "pearl-attention": (PEARL, {"tasks": TASKS, "pooling": "attention"}),
}
# Every family, and every learner on one with actions that it takes.
PLAYS = [(name, variant, "maml") for name, variant in CASES] + [
    (*("metarl/SparseSemicircle-v0", "pearl" if "pearl" in agent else "varibad"), agent) for agent in AGENTS
]


class Waits(RuntimeError):
    """Something would have made the host wait for the device."""


class _Operations(TorchDispatchMode):
    """Raises at operations whose result the host needs, and at copies between devices."""

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, given = op.overloadpacket.__name__, [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        far = any(x.device.type != "cpu" for x in given)
        if far and name in READS:
            raise Waits(f"{name} reads a number")
        if name in ("index", "index_put", "index_put_") and any(x.dtype == torch.bool for x in tree_leaves(args[1])):
            raise Waits(f"{name} by a mask counts what is true")
        out = op(*args, **(kwargs or {}))
        places = {x.device.type for x in (*given, *tree_leaves(out)) if isinstance(x, Tensor) and x.ndim}
        if name in ("_to_copy", "copy_", "copy") and len(places) > 1:
            raise Waits(f"{name} between {sorted(places)}")
        return out


class _Calls(TorchFunctionMode):
    """Raises where numbers of the host become a tensor, or a tensor numbers of the host."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in COPIES:
            raise Waits(f"{func.__name__} copies")
        return func(*args, **(kwargs or {}))


class Watched(AbstractContextManager[None]):
    """Both; inside it nothing may wait."""

    def __enter__(self) -> None:
        self._modes = [_Calls(), _Operations()]
        for mode in self._modes:
            mode.__enter__()

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)


def action_map(space: gymnasium.Space[Any], device: torch.device, dtype: torch.dtype) -> ActionMap:
    """Made on the CPU, for making one reads its limits: once for a space, before the rollout's first step."""
    made = ActionMap(space, "cpu", dtype)
    for name, value in vars(made).items():
        if isinstance(value, Tensor):
            setattr(made, name, value.to(device))
    return made


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Algorithm], list[int]]:
    """Two episodes of an agent on the meta device; returns how many numbers were read at the end of them."""
    monkeypatch.setattr("metarl.envs.engine.torch.check_device", torch.device)
    monkeypatch.setattr("metarl.rollout.context.ActionMap", action_map)
    # Ten rounds of operations that are slow on this device; they have a test of their own.
    numbers = "metarl.core.random.philox"
    drawn = random.philox

    def philox(counter: tuple[Tensor, ...], key: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        # Splits are drawn on the CPU, where equal numbers would put one task into two parts.
        return torch.broadcast_tensors(*counter, *key)[:4] if counter[0].is_meta else drawn(counter, key)

    monkeypatch.setattr(numbers, philox)
    reads: list[int] = []

    def read(flags: Tensor) -> list[int]:
        reads.append(flags.numel())
        return [HORIZON, 1]  # steps of the longest episode, all numbers finite

    monkeypatch.setattr(recording, "read", read)

    def run(agent: Algorithm) -> list[int]:
        n = TASKS * agent.n_envs
        tasks = agent.family.tasks.sample(stream_keys(TASKS, 0, "task")).repeat(agent.n_envs)
        batch = agent.family.batch(tasks, stream_keys(n, 0, "test"), "meta")
        agent.rollouts.to_env(batch.action_space, batch.device)  # kept from now on
        state = agent.learner.initial(agent.params, TASKS)
        with Watched():
            trajectory, _ = rollout(
                agent.learner, agent.params, state, batch, n_envs=agent.n_envs, episodes=2, context=agent.rollouts
            )
        assert trajectory.reward.shape == (TASKS, agent.n_envs, 2, HORIZON)
        assert trajectory.reward.device.type == trajectory.action.device.type == "meta"
        return reads

    return run


def make(agent: str, name: str, variant: str) -> Algorithm:
    made, options = AGENTS[agent]
    family = family_class(name)(variant)
    if family.horizon > HORIZON:
        vars(family)["horizon"] = HORIZON
    agent_made = made(family, replace(made.config_class(), **options))
    agent_made.params = {key: value.to("meta") for key, value in agent_made.params.items()}
    return agent_made


@pytest.mark.parametrize(("name", "variant", "agent"), PLAYS)
def test_no_rollout_waits(
    name: str, variant: str, agent: str, play: Callable[[Algorithm], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(agent, name, variant)
    monkeypatch.setitem(globals(), "HORIZON", made.family.horizon)
    assert play(made) == [2]  # once a rollout: the longest episode, and whether all numbers are finite


def test_random_numbers_are_made_on_the_device() -> None:
    keys = torch.zeros(TASKS, 2, dtype=torch.int64, device="meta")
    with Watched():
        assert uniforms(keys, Domain.STEP, 3, steps=2, n=3).shape == (TASKS, 2, 3)


def test_without_looking_a_rollout_goes_on_to_the_horizon_and_is_cut_to_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    family = family_class("metarl/CartPole-v0")("reversed")
    agent = RL2(family, RL2.config_class(tasks=TASKS, minibatches=1, width=8))
    batch = family.batch(family.tasks.sample(stream_keys(TASKS, 0)), stream_keys(TASKS, 1))

    def play() -> tuple[Trajectory, dict[str, Tensor]]:
        return rollout(agent.learner, agent.params, agent.learner.initial(agent.params, TASKS), batch, n_envs=1)

    looked, state = play()
    made = Recording.__init__

    def blind(self: Recording, rows: tuple[int, int], _: torch.device) -> None:
        made(self, rows, torch.device("meta"))  # as on a GPU, all but the place of what is kept
        self._nothing_ended = torch.zeros(rows, dtype=torch.bool)
        self.ended = self._nothing_ended

    monkeypatch.setattr(Recording, "__init__", blind)
    steps: list[int] = []
    monkeypatch.setattr(recording, "read", lambda flags: steps.append(int(flags[0])) or flags.tolist())
    trajectory, after = play()
    assert batch.clock.elapsed == family.horizon > trajectory.n_steps == looked.n_steps == steps[0]
    assert torch.equal(trajectory.lengths, looked.lengths)
    for name in ("observation", "action", "reward", "terminated", "final_observation"):
        assert torch.equal(getattr(trajectory, name), getattr(looked, name)), name
    assert trajectory.reward.is_contiguous()
    assert all(torch.equal(after[name], value) for name, value in state.items())
