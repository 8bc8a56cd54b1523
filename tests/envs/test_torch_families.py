"""What every family on the torch engine owes: pure functions of their arguments, in either precision, on any device."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metarl.core.random import stream_keys
from metarl.envs import FAMILIES
from metarl.envs.engine.torch import TorchFamily
from metarl.family.policy_returns import policy_returns
from metarl.family.registry import family_class

Start = tuple[TorchFamily, dict[str, Tensor], dict[str, Tensor], Tensor, list[Tensor]]
OURS = [name for name in FAMILIES if issubclass(family_class(name), TorchFamily)]
CASES = [(name, variant) for name in OURS for variant in family_class(name).variants()]
every_family = pytest.mark.parametrize(("name", "variant"), CASES, ids=lambda value: value.removeprefix("metarl/"))


def start(name: str, variant: str, n: int = 6, dtype: torch.dtype = torch.float32) -> Start:
    """A family, n tasks, a state, actions and the uniforms of a step."""
    family = family_class(name)(variant)
    assert isinstance(family, TorchFamily)
    generator = torch.Generator().manual_seed(0)
    task = family.tasks.sample(stream_keys(n, "test")).tensors(dtype=dtype)
    draws = [torch.rand(n, k, generator=generator, dtype=dtype) for k in family.draws]
    action = torch.as_tensor(np.stack([family.action_space.sample() for _ in range(n)]))
    action = action.to(dtype) if action.is_floating_point() else action
    return family, task, family.reset(task, draws[0]), action, draws


def widened(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value


def outputs(family: TorchFamily, result: Any, task: dict[str, Tensor]) -> dict[str, Tensor]:
    """Everything a step gives, by name."""
    state, reward, terminated, extras = result if len(result) > 3 else (*result, {})
    return {**state, "reward": reward, "terminated": terminated, **extras, "seen": family.observe(state, task)}


@every_family
def test_reset_and_step_change_nothing_they_are_given(name: str, variant: str) -> None:
    family, task, state, action, draws = start(name, variant)
    given = {**task, **state, "action": action, "u": draws[1]}
    before = {key: value.clone() for key, value in given.items()}
    first = outputs(family, family.step(state, action, task, draws[1]), task)
    family.reset(task, draws[0])
    assert all(torch.equal(value, before[key]) for key, value in given.items())
    again = outputs(family, family.step(state, action, task, draws[1]), task)
    assert all(torch.equal(value, again[key]) for key, value in first.items())


@every_family
def test_rows_do_not_influence_each_other(name: str, variant: str) -> None:
    family, task, state, action, draws = start(name, variant)
    whole = outputs(family, family.step(state, action, task, draws[1]), task)
    row = {key: value[2:3] for key, value in task.items()}
    alone = family.step({key: value[2:3] for key, value in state.items()}, action[2:3], row, draws[1][2:3])
    for key, value in outputs(family, alone, row).items():
        torch.testing.assert_close(value, whole[key][2:3])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@every_family
def test_keeps_to_the_precision_asked_for(name: str, variant: str, dtype: torch.dtype) -> None:
    family, task, state, action, draws = start(name, variant, dtype=dtype)
    for key, value in outputs(family, family.step(state, action, task, draws[1]), task).items():
        assert not value.is_floating_point() or value.dtype == dtype, key
        assert len(value) == 6
    result = family.step(state, action, task, draws[1])
    assert (result[1].shape, result[2].shape, result[2].dtype) == ((6,), (6,), torch.bool)


@every_family
def test_both_precisions_give_the_same_step(name: str, variant: str) -> None:
    family, task, state, action, draws = start(name, variant)
    single = outputs(family, family.step(state, action, task, draws[1]), task)
    task, state = ({key: widened(value) for key, value in group.items()} for group in (task, state))
    double = outputs(family, family.step(state, widened(action), task, widened(draws[1])), task)
    for key, value in single.items():
        torch.testing.assert_close(widened(value), double[key], atol=1e-5, rtol=1e-5)


@every_family
def test_default_task_is_not_solved_at_reset(name: str, variant: str) -> None:
    family = family_class(name)(variant)
    batch = family.batch(type(family.splits.test).stack([family.default()]), stream_keys(1, "test"))
    batch.reset()
    action = torch.zeros(1, dtype=torch.int64) if hasattr(family.action_space, "n") else torch.zeros(1, 2)
    outcome = batch.step(action)
    assert family.horizon == 1 or not outcome.terminated.any()


@every_family
def test_policies_earn_what_their_order_says(name: str, variant: str) -> None:
    family = family_class(name)(variant)
    tasks, repeats = family.splits.test[:20], 20 if getattr(family, "draws", (0, 0))[1] else 1
    episodes = 20 if family.horizon == 1 else 1
    earned = {
        reference: policy_returns(family, reference, tasks, episodes=episodes, repeats=repeats).mean()
        for reference in family.reference_policies()
    }
    assert all(np.isfinite(value) for value in earned.values())
    assert family.floor in earned
    if family.optimum is not None:
        assert earned[family.optimum] == max(earned.values())
        assert earned[family.floor] < earned[family.optimum]


@every_family
def test_a_gpu_gives_the_cpus_numbers(name: str, variant: str, cuda: str) -> None:
    family, task, state, action, draws = start(name, variant)
    here = outputs(family, family.step(state, action, task, draws[1]), task)
    task, state = ({key: value.to(cuda) for key, value in group.items()} for group in (task, state))
    there = outputs(family, family.step(state, action.to(cuda), task, draws[1].to(cuda)), task)
    for key, value in there.items():
        assert value.device.type == "cuda", key
        torch.testing.assert_close(value.cpu(), here[key])
