"""The external memory's own: which slot is written, what is read, and what a gradient goes through."""

from math import log
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.adapt.memory.external import ATTENTION, LAST, MATRIX, USAGE, ExternalMemory, ExternalMemoryConfig
from metarl.adapt.memory.recurrent import CELL, HIDDEN
from metarl.adapt.memory.registry import make_memory
from metarl.agents.rl2 import RL2Config
from metarl.core.errors import MetaRLError
from metarl.core.types import Params, State

Array = NDArray[np.float64]


def blind(key: float, gate: float, sharpness: float) -> tuple[ExternalMemory, Params]:
    """Two slots of one number, written by a controller that puts out the same whatever it sees."""
    memory = ExternalMemory(1, 2, config=ExternalMemoryConfig(slots=2, slot_width=1, reads=1))
    params = {name: torch.zeros_like(value) for name, value in memory.init(torch.Generator()).items()}
    bias = torch.tensor([np.arctanh(key), gate, log(np.expm1(sharpness)) - 10])
    return memory, {**params, "memory.interface.0.bias": bias.float()}


def test_the_least_used_slot_is_overwritten_by_hand() -> None:
    memory, params = blind(key=0.5, gate=-50, sharpness=log(3))
    state, x = memory.initial(params, 1), torch.zeros(1, 1)
    matrices, usages = [], []
    for _ in range(3):
        state = memory.step(params, state, x)
        matrices.append(state[MATRIX].flatten().tolist())
        usages.append(state[USAGE][0])
    # Nothing is like anything in an empty matrix, so both slots are read alike, and the first of two unused is written.
    assert matrices[0] == pytest.approx([0.5, 0])
    torch.testing.assert_close(usages[0], torch.tensor([1.5, 0.5]))
    # Cosines 1 and 0: read with 3/4 and 1/4. The second slot is the least used.
    assert matrices[1] == pytest.approx([0.5, 0.5])
    torch.testing.assert_close(usages[1], torch.tensor([0.99 * 1.5 + 0.75, 0.99 * 0.5 + 0.25 + 1]))
    # Both are alike; the second, of 1.745 against 2.235, is written again.
    torch.testing.assert_close(usages[2], torch.tensor([0.99 * 2.235 + 0.5, 0.99 * 1.745 + 0.5 + 1]))
    # And now the first, of 2.71265 against 3.22755.
    state = memory.step(params, {**state, MATRIX: torch.tensor([[[0.3], [0.7]]])}, x)
    assert state[MATRIX].flatten().tolist() == pytest.approx([0.5, 0.7])
    assert float(state[LAST]) == pytest.approx((0.3 + 0.7) / 2)  # what was there before it was overwritten


def test_the_gate_writes_where_was_read_last_by_hand() -> None:
    memory, params = blind(key=0.5, gate=0, sharpness=log(3))
    state = memory.initial(params, 1)
    read = {ATTENTION: torch.tensor([[[0.8, 0.2]]]), USAGE: torch.tensor([[0.2, 0.1]])}
    state = memory.step(params, {**state, **read, MATRIX: torch.tensor([[[0.3], [0.7]]])}, torch.zeros(1, 1))
    # Half of .8 and .2, and half into the second slot, which was erased.
    assert state[MATRIX].flatten().tolist() == pytest.approx([0.3 + 0.4 * 0.5, 0.6 * 0.5])
    torch.testing.assert_close(state[USAGE], torch.tensor([[0.99 * 0.2 + 0.5 + 0.4, 0.99 * 0.1 + 0.5 + 0.6]]))


def test_a_trace_is_not_as_like_as_what_was_written_by_hand() -> None:
    memory, params = blind(key=0.5, gate=-50, sharpness=log(3))
    state = {**memory.initial(params, 1), MATRIX: torch.tensor([[[0.2], [0.05]]])}
    # Cosines 1 and .05 / .1.
    weights = torch.tensor([3.0, 3**0.5])
    torch.testing.assert_close(memory.step(params, state, torch.zeros(1, 1))[ATTENTION][0, 0], weights / weights.sum())


def test_at_first_a_head_writes_into_the_least_used_slot() -> None:
    memory = ExternalMemory(3, 10, config=ExternalMemoryConfig(slots=5, slot_width=3, reads=2))
    params = memory.init(torch.Generator().manual_seed(0))
    state = memory.step(params, memory.initial(params, 1), torch.ones(1, 3))
    state = memory.step(params, state, torch.ones(1, 3))
    lengths = state[MATRIX][0].norm(dim=-1)
    assert lengths[:4].min() > 10 * lengths[4] > 0


def test_each_head_is_given_a_slot_of_its_own() -> None:
    memory = ExternalMemory(1, 9, config=ExternalMemoryConfig(slots=4, slot_width=1, reads=2))
    usage = torch.tensor([[0.5, 0.1, 0.3, 0.2], [0, 0, 0, 0], [0.2, 0.2 + 1e-7, 0.2 - 1e-7, 0.1]])
    assert memory.least_used(usage).argmax(-1).tolist() == [[1, 3], [0, 1], [3, 0]]


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def naive_step(memory: ExternalMemory, p: dict[str, Array], state: dict[str, Array], x: Array) -> dict[str, Array]:
    """One task, one head and one slot after the other."""
    seen = np.concatenate([x, *state["last"]])
    gates = p["w_x"] @ seen + p["b_x"] + p["w_h"] @ state["hidden"] + p["b_h"]
    enter, forget, new, out = np.split(gates, 4)
    cell = sigmoid(forget) * state["cell"] + sigmoid(enter) * np.tanh(new)
    hidden = sigmoid(out) * np.tanh(cell)
    said = (p["interface.0.weight"] @ hidden + p["interface.0.bias"]).reshape(memory.reads, -1)
    order = sorted(range(memory.slots), key=lambda i: (round(float(state["usage"][i]), 9), i))
    matrix, usage = state["matrix"].copy(), 0.99 * state["usage"]
    matrix[order[: memory.reads]] = 0
    last, attention = [], []
    for head in range(memory.reads):
        key, gate = np.tanh(said[head, :-2]), sigmoid(said[head, -2])
        likeness = np.zeros(memory.slots)
        for i, row in enumerate(state["matrix"]):
            likeness[i] = key @ row / max(np.linalg.norm(key), 0.1) / max(np.linalg.norm(row), 0.1)
        weight = np.exp(np.log1p(np.exp(10 + said[head, -1])) * likeness)
        attention.append(weight / weight.sum())
        last.append(sum(attention[-1][i] * state["matrix"][i] for i in range(memory.slots)))
        for i in range(memory.slots):
            write = gate * state["attention"][head, i] + (1 - gate) * (i == order[head])
            matrix[i] += write * key
            usage[i] += attention[-1][i] + write
    made = {"hidden": hidden, "cell": cell, "matrix": matrix, "usage": usage}
    return {**made, "attention": np.stack(attention), "last": np.stack(last)}


def away(memory: ExternalMemory) -> Params:
    """Parameters in float64, away from the zeros of an initialisation."""
    random = torch.Generator().manual_seed(3)
    made = memory.init(random)
    return {name: value.double() + 0.3 * torch.randn(value.shape, generator=random) for name, value in made.items()}


def inputs(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def test_steps_equal_a_naive_loop() -> None:
    memory = ExternalMemory(3, 10, config=ExternalMemoryConfig(slots=5, slot_width=3, reads=2))
    params, x = away(memory), inputs(2, 7, 3)
    plain = {name.removeprefix("memory."): value.numpy() for name, value in params.items()}
    state = memory.initial(params, 2)
    sizes = {"hidden": 4, "cell": 4, "matrix": (5, 3), "usage": 5, "attention": (2, 5), "last": (2, 3)}
    expected = [{name: np.zeros(size) for name, size in sizes.items()} for _ in range(2)]
    for t in range(7):  # the third step and those after it overwrite what was written
        state = memory.step(params, state, x[:, t])
        expected = [naive_step(memory, plain, row, x[i, t].numpy()) for i, row in enumerate(expected)]
        for i, row in enumerate(expected):
            for name, value in row.items():
                found = state["memory." + name][i].numpy().reshape(value.shape)
                np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-9, err_msg=f"{name} after step {t}")
            read = np.concatenate([row["hidden"], *row["last"]])
            np.testing.assert_allclose(memory.read(params, state)[i], read, rtol=1e-9, atol=1e-9)


def test_gradients_go_through_what_was_written_and_read() -> None:
    memory = ExternalMemory(2, 6, config=ExternalMemoryConfig(slots=3, slot_width=2, reads=1))
    params, x = away(memory), inputs(1, 4, 2)

    def last(x: Tensor) -> Tensor:
        state: State = memory.initial(params, 1)
        fresh = {name: state[name] for name in (HIDDEN, CELL, LAST)}
        for t in range(4):
            # The controller forgets everything, so what comes through comes by the matrix.
            state = memory.step(params, {**state, **fresh}, x[:, t])
        assert not state[USAGE].requires_grad
        return state[LAST]

    x.requires_grad_()
    assert torch.autograd.gradcheck(last, x, atol=1e-6)
    (slope,) = torch.autograd.grad(last(x).sum(), x)
    assert (slope != 0).any(-1).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"slots": 0}, "slots must be .* at least 1"),
        ({"reads": 5}, "no more reads than slots"),
        ({"slot_width": 0}, "slot_width must be .* at least 1"),
        ({"reads": 0}, "reads must be .* at least 1"),
        ({"width": 4}, "leave 0 numbers to the controller; take a width above 4"),
    ],
)
def test_bad_numbers_are_refused(wrong: dict[str, Any], message: str) -> None:
    options = {"slots": 4, "slot_width": 2, "reads": 2, **wrong}
    with pytest.raises(MetaRLError, match=message):
        ExternalMemory(3, options.pop("width", 8), config=ExternalMemoryConfig(**options))


def test_by_its_name_it_has_a_slot_for_each_input_up_to_128() -> None:
    made = [make_memory("external", 3, 64, capacity) for capacity in (2, 50, 400)]
    assert [memory.slots for memory in made if isinstance(memory, ExternalMemory)] == [4, 50, 128]
    for memory in made:
        params = memory.init(torch.Generator().manual_seed(0))
        assert memory.read(params, memory.initial(params, 5)).shape == (5, 64)
    assert RL2Config(memory="external", width=5).width == 5
    with pytest.raises(MetaRLError, match="leave 0 numbers to the controller"):
        RL2Config(memory="external", width=4)
