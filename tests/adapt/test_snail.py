"""SNAIL's own: against a loop over positions, and what reaches where."""

import pytest
import torch
from torch import Tensor

from metarl.adapt.memory.snail import SEEN, SNAIL, SNAILConfig
from metarl.core.errors import MetaRLError
from metarl.core.learner import keep_where
from metarl.core.types import Params

D, WIDTH = 3, 4


def made(capacity: int, layers: int = 2) -> tuple[SNAIL, Params]:
    """In float64, and away from the special values of an initialisation."""
    memory, random = SNAIL(D, WIDTH, capacity, SNAILConfig(layers=layers, filters=2)), torch.Generator().manual_seed(0)
    params = memory.init(random)
    return memory, {n: v.double() + 0.2 * torch.randn(v.shape, generator=random) for n, v in params.items()}


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive(memory: SNAIL, params: Params, x: Tensor) -> Tensor:
    """One position after the other, block by block as the paper draws them."""

    def linear(name: str, v: Tensor) -> Tensor:
        return params[f"memory.{name}.0.weight"] @ v + params[f"memory.{name}.0.bias"]

    made = list(x)
    for layer in range(memory.layers + 1):
        if layer:
            for i, dilation in enumerate(memory.dilations):
                old = list(made)
                for t in range(len(x)):
                    ago = old[t - dilation] if t >= dilation else torch.zeros_like(old[t])
                    out = linear(f"{layer - 1}.convolution.{i}", torch.cat([ago, old[t]]))
                    made[t] = torch.cat([old[t], out[:2].tanh() * out[2:].sigmoid()])
        query, key, value = zip(*(linear(f"{layer}.attention", v).split(WIDTH) for v in made), strict=True)
        for t in range(len(x)):
            window = range(max(0, t + 1 - memory.capacity), t + 1)
            score = torch.stack([query[t] @ key[s] for s in window]) / WIDTH**0.5
            weights = score.softmax(0)
            made[t] = torch.cat([made[t], sum((weights[j] * value[s] for j, s in enumerate(window)), torch.zeros(1))])
    return torch.stack([linear("read", v) for v in made])


@pytest.mark.parametrize("capacity", [1, 4, 5, 12], ids=["one input", "forgets", "forgets, five", "forgets nothing"])
def test_the_parallel_pass_the_fold_and_a_naive_loop_agree(capacity: int) -> None:
    memory, params = made(capacity)
    x = normal(2, 11, D)
    lengths = torch.tensor([11, 7])
    parallel, end = memory.sequence(params, memory.initial(params, 2), x, lengths)
    state = memory.initial(params, 2)
    for t in range(11):
        state = keep_where(t < lengths, memory.step(params, state, x[:, t]), state)
        torch.testing.assert_close(memory.read(params, state)[0], parallel[0, t], rtol=0, atol=1e-10)
    for name, value in state.items():
        torch.testing.assert_close(end[name], value, rtol=0, atol=1e-10)
    for row, length in enumerate(lengths.tolist()):
        expected = naive(memory, params, x[row, :length])
        torch.testing.assert_close(parallel[row, :length], expected, rtol=0, atol=1e-10)
        torch.testing.assert_close(memory.read(params, state)[row], expected[-1], rtol=0, atol=1e-10)


def test_a_later_input_changes_nothing_earlier_and_everything_after() -> None:
    memory, params = made(capacity=12)
    x, lengths = normal(1, 9, D), torch.tensor([9])
    before, _ = memory.sequence(params, memory.initial(params, 1), x, lengths)
    x[0, 5] += 1
    after, _ = memory.sequence(params, memory.initial(params, 1), x, lengths)
    assert (before != after)[0].any(-1).tolist() == [False] * 5 + [True] * 4


@pytest.mark.parametrize(("capacity", "apart"), [(1, [1]), (2, [1]), (3, [1, 2]), (8, [1, 2, 4]), (9, [1, 2, 4, 8])])
def test_convolutions_reach_over_the_capacity(capacity: int, apart: list[int]) -> None:
    memory = SNAIL(D, WIDTH, capacity, SNAILConfig(filters=2))
    assert memory.dilations == apart
    assert sum(apart) + 1 >= capacity
    params = memory.init(torch.Generator().manual_seed(0))
    assert memory.initial(params, 7)[SEEN].shape == (7, capacity, D + 3 * WIDTH + 2 * len(apart) * 2)


def test_at_first_an_input_attends_most_to_those_that_are_like_it() -> None:
    memory = SNAIL(2, 8, 4, SNAILConfig(layers=1, filters=2))
    params = memory.init(torch.Generator().manual_seed(0))
    # Far apart on a circle.
    x = torch.tensor([[1.0, 0.0], [-0.5, 0.866], [-0.5, -0.866]])
    query, key, value = memory.attention[0](params, x[None], "memory.0.attention.").chunk(3, -1)
    assert torch.equal(query, key)
    assert not torch.allclose(key, value, atol=0.1)
    assert (query[0] @ key[0].T).argmax(-1).tolist() == [0, 1, 2]


def test_what_is_read_before_any_input_is_learned() -> None:
    memory, params = made(capacity=4)
    state = memory.initial(params, 3)
    assert torch.equal(memory.read(params, state), params["memory.start"].expand(3, -1))


def test_bad_numbers_are_refused() -> None:
    for options in ({"layers": 0}, {"filters": 0}):
        with pytest.raises(MetaRLError, match="at least 1"):
            SNAILConfig(**options)
    with pytest.raises(MetaRLError, match="n_inputs=0"):
        SNAIL(0, WIDTH, 4)
