"""What is the transformer's own: a parallel pass, a window, and positions that only differ."""

import pytest
import torch
from torch import Tensor

from metarl.adapt.memory.transformer import COUNT, Transformer, TransformerConfig
from metarl.core.errors import MetaRLError
from metarl.core.types import Params, State

D, WIDTH = 3, 8


def made(capacity: int, layers: int = 2) -> tuple[Transformer, Params]:
    memory = Transformer(D, WIDTH, capacity, TransformerConfig(layers=layers, heads=2))
    return memory, memory.init(torch.Generator().manual_seed(0))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def taken_in(memory: Transformer, params: Params, x: Tensor) -> State:
    return memory.sequence(params, memory.initial(params, len(x)), x, torch.full((len(x),), x.shape[1]))[1]


@pytest.mark.parametrize("capacity", [1, 5, 30], ids=["one input", "forgets", "forgets nothing"])
@pytest.mark.parametrize("before", [0, 7])
def test_the_parallel_pass_is_the_fold_in_single_precision(capacity: int, before: int) -> None:
    memory, params = made(capacity)
    params = {name: value.requires_grad_() for name, value in params.items()}
    state = taken_in(memory, params, normal(4, before, D, seed=1)) if before else memory.initial(params, 4)
    x, lengths = normal(4, 12, D, seed=2).requires_grad_(), torch.tensor([12, 0, 5, 11])
    valid = torch.arange(12) < lengths[:, None]
    slopes, outputs, ends = [], [], []
    for run in (memory.sequence, super(Transformer, memory).sequence):
        out, end = run(params, state, x, lengths)
        total = (out[valid] * normal(int(valid.sum()), WIDTH, seed=3)).sum() + memory.read(params, end).square().sum()
        slopes.append(torch.autograd.grad(total, [*params.values(), x], retain_graph=True))
        outputs.append(out[valid])
        ends.append(end)
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-5)
    for name in state:
        torch.testing.assert_close(ends[0][name], ends[1][name], rtol=0, atol=1e-5)
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_one_block_sees_the_last_inputs_of_its_capacity_and_no_others() -> None:
    memory, params = made(capacity=4, layers=1)
    x = normal(1, 9, D).requires_grad_()
    output, _ = memory.sequence(params, memory.initial(params, 1), x, torch.tensor([9]))
    (slope,) = torch.autograd.grad((output[0, -1] * normal(WIDTH)).sum(), x)
    assert (slope[0] != 0).any(-1).tolist() == [False] * 5 + [True] * 4


def test_what_counts_is_how_long_ago_an_input_was() -> None:
    memory, params = made(capacity=4, layers=1)
    recent = normal(2, 4, D)
    short, long = (taken_in(memory, params, torch.cat([normal(2, n, D, seed=n), recent], 1)) for n in (1, 3000))
    assert long[COUNT].tolist() == [3004, 3004]
    torch.testing.assert_close(memory.read(params, short), memory.read(params, long), rtol=0, atol=1e-5)
    turned = taken_in(memory, params, recent[:, [1, 0, 2, 3]])
    assert not torch.allclose(memory.read(params, short), memory.read(params, turned), atol=1e-3)


def test_what_is_read_before_any_input_is_learned() -> None:
    memory, params = made(capacity=4)
    leaves = {name: value.requires_grad_() for name, value in params.items()}
    x, valid = normal(2, 3, D), torch.ones(2, 3, dtype=torch.bool)
    reads, _ = memory.replay(leaves, memory.initial(leaves, 2), x, valid)
    slopes = torch.autograd.grad(reads[:, 0].sum(), list(leaves.values()), allow_unused=True)
    assert [name for name, slope in zip(leaves, slopes, strict=True) if slope is not None and slope.any()] == [
        "memory.start"
    ]


def test_bad_numbers_are_refused() -> None:
    for options in ({"layers": 0}, {"heads": 0}):
        with pytest.raises(MetaRLError, match="at least 1"):
            TransformerConfig(**options)
    with pytest.raises(MetaRLError, match="capacity=0"):
        Transformer(D, WIDTH, 0)
    with pytest.raises(MetaRLError, match="give a TransformerConfig"):
        Transformer(D, WIDTH, 4, 2)  # type: ignore[arg-type]
    with pytest.raises(MetaRLError, match="take a multiple of 16"):
        Transformer(D, WIDTH, 4, TransformerConfig(layers=1, heads=8))
