"""What every memory owes: ``replay`` is the fold of ``step`` over the valid inputs, and nothing leaks."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from metarl.adapt.memory.base import Memory
from metarl.adapt.memory.registry import make_memory, memory_names
from metarl.core.learner import keep_where
from metarl.core.types import Params, State

D, WIDTH, STEPS = 3, 8, 11
# Those that are short forget within these trials.
CAPACITIES = {
    "transformer": 40,
    "transformer, short": 4,
    "snail": 40,
    "snail, short": 4,
    "external": 20,
    "external, short": 3,
}
# Of each row, what is valid: all, none, padding between episodes and at the end, at the start, one input in the middle.
VALID = torch.tensor(
    [
        [1] * STEPS,
        [0] * STEPS,
        [1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 0],
        [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
    ]
).bool()
N = len(VALID)


@pytest.fixture(params=sorted({*memory_names(), *CAPACITIES}))
def memory(request: pytest.FixtureRequest) -> Memory:
    name = str(request.param)
    kind, options = name.split(",")[0], {"transformer": ("layers=2", "heads=2"), "external": ("reads=2",)}
    return make_memory(kind, D, WIDTH, CAPACITIES.get(name, 1), options.get(kind, ()))


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def params(memory: Memory) -> Params:
    """In float64, and away from the zeros and ones of an initialisation."""
    made = memory.init(torch.Generator().manual_seed(0))
    return {
        name: (v.double() + 0.2 * normal(*v.shape, seed=i)).requires_grad_() for i, (name, v) in enumerate(made.items())
    }


def begun(memory: Memory, params: Params, counts: Sequence[int] = (0, 3, 6, 1, 2)) -> State:
    """A state in which every row has seen another number of inputs."""
    state, before = memory.initial(params, len(counts)), normal(len(counts), max(counts), D, seed=50)
    for t in range(max(counts)):
        state = keep_where(torch.tensor(counts) > t, memory.step(params, state, before[:, t]), state)
    return state


def fold(memory: Memory, params: Params, state: State, x: Tensor, valid: Tensor) -> tuple[Tensor, State]:
    """What ``replay`` promises, row by row and step by step."""
    reads, ends = [], []
    for i in range(len(x)):
        row, said = {name: value[i : i + 1] for name, value in state.items()}, []
        for t in range(x.shape[1]):
            said.append(memory.read(params, row))
            row = memory.step(params, row, x[i : i + 1, t]) if valid[i, t] else row
        reads.append(torch.cat(said))
        ends.append(row)
    return torch.stack(reads), {name: torch.cat([end[name] for end in ends]) for name in state}


def gradients(reads: Tensor, state: State, leaves: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Of a sum in which every number that is read, and every one of the state, has a weight of its own."""
    parts = [reads, *(state[name] for name in sorted(state) if state[name].is_floating_point())]
    total = sum((part * normal(*part.shape, seed=i)).sum() for i, part in enumerate(parts))
    assert isinstance(total, Tensor)
    return torch.autograd.grad(total, list(leaves), retain_graph=True, materialize_grads=True)


def close(one: State, other: State) -> None:
    assert set(one) == set(other)
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("old", [False, True], ids=["from the start", "from a state"])
def test_replay_is_the_fold_over_the_valid_inputs(memory: Memory, params: Params, old: bool) -> None:
    x = normal(N, STEPS, D, seed=1).requires_grad_()
    state = begun(memory, params) if old else memory.initial(params, N)
    leaves = {**params, "x": x}
    found, expected = memory.replay(params, state, x, VALID), fold(memory, params, state, x, VALID)
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-10)
    close(found[1], expected[1])
    slopes = (gradients(*one, list(leaves.values())) for one in (found, expected))
    close(*(dict(zip(leaves, slope, strict=True)) for slope in slopes))


def test_replay_without_padding_is_the_fold(memory: Memory, params: Params) -> None:
    x, valid = normal(2, STEPS, D, seed=1), torch.ones(2, STEPS, dtype=torch.bool)
    state = memory.initial(params, 2)
    found, expected = memory.replay(params, state, x, valid), fold(memory, params, state, x, valid)
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-10)
    close(found[1], expected[1])


def test_nan_in_the_padding_leaks_nowhere(memory: Memory, params: Params) -> None:
    clean = normal(N, STEPS, D, seed=1)
    results = []
    for padding in (0.0, torch.nan):
        x = clean.masked_fill(~VALID[..., None], padding).requires_grad_()
        reads, state = memory.replay(params, memory.initial(params, N), x, VALID)
        results.append(
            {
                "reads": reads,
                **state,
                **dict(zip([*params, "x"], gradients(reads, state, [*params.values(), x]), strict=True)),
            }
        )
    close(*results)
    assert all(value.isfinite().all() for value in results[1].values())


def test_what_is_read_before_an_input_depends_on_earlier_ones_only(memory: Memory, params: Params) -> None:
    x = normal(2, STEPS, D, seed=1).requires_grad_()
    reads, _ = memory.replay(params, memory.initial(params, 2), x, torch.ones(2, STEPS, dtype=torch.bool))
    for t in range(1, STEPS):
        (slope,) = torch.autograd.grad((reads[:, t] * normal(WIDTH, seed=t)).sum(), x, retain_graph=True)
        assert (slope[:, t:] == 0).all()
        assert (slope[:, t - 1] != 0).any(-1).all()


def test_rows_do_not_see_each_other(memory: Memory, params: Params) -> None:
    x = normal(N, STEPS, D, seed=1).requires_grad_()
    reads, state = memory.replay(params, begun(memory, params), x, VALID)
    (slope,) = torch.autograd.grad(reads[2].sum() + memory.read(params, state)[2].sum(), x)
    assert (slope[[0, 1, 3, 4]] == 0).all()
    assert (slope[2][VALID[2]] != 0).any()


def test_two_halves_are_the_whole(memory: Memory, params: Params) -> None:
    x, state = normal(N, STEPS, D, seed=1), memory.initial(params, N)
    whole, end = memory.replay(params, state, x, VALID)
    first, middle = memory.replay(params, state, x[:, :5], VALID[:, :5])
    second, last = memory.replay(params, middle, x[:, 5:], VALID[:, 5:])
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-10)
    close(last, end)


def test_a_step_leaves_the_old_state_as_it_was(memory: Memory, params: Params) -> None:
    state = begun(memory, params)
    before = {name: value.clone() for name, value in state.items()}
    after = memory.step(params, state, normal(N, D, seed=1))
    memory.replay(params, state, normal(N, STEPS, D, seed=2), VALID)
    assert all(torch.equal(value, before[name]) for name, value in state.items())
    assert {name: (v.shape, v.dtype) for name, v in after.items()} == {n: (v.shape, v.dtype) for n, v in state.items()}
