"""A memory that looks back: causal self-attention over the inputs of a trial."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from metarl.adapt.memory.base import PREFIX, Memory
from metarl.adapt.memory.registry import register_memory
from metarl.core.config import at_least, check_config
from metarl.core.errors import MetaRLError
from metarl.core.types import Params, State

OUTPUT, COUNT = PREFIX + "output", PREFIX + "count"
_START = PREFIX + "start"
_WIDER = 4  # times the width: the hidden layer of a block
_BASE = 10_000.0  # of the rotary wavelengths, 2π to nearly 2π times this many inputs

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """The size of a transformer."""

    layers: int = 2  # blocks of attention and a perceptron
    heads: int = 4  # attention heads, which share the width; each has an even number of it

    def __post_init__(self) -> None:
        check_config(self, {"layers": at_least(1), "heads": at_least(1)})


@register_memory("transformer")
class Transformer(Memory):
    """A pre-norm transformer over the last ``capacity`` inputs (Vaswani et al. 2017; Xiong et al. 2020).

    Queries and keys are turned by their position (Su et al. 2021, RoFormer, equation 34). Attention then depends on how
    long ago an input was and on nothing else, so that a trial may be of any length and old inputs may be forgotten.

    The state is what was put out last, how many inputs there were, and for each block a ring of keys and one of values,
    ``(task, capacity, width)``: input t lies at t modulo ``capacity``, in the place of the one that leaves the
    window. Through deeper blocks inputs farther back still act. A step costs one query over the ring, and a copy of it.
    """

    config_class = TransformerConfig
    config: TransformerConfig

    def __init__(self, n_inputs: int, width: int, capacity: int = 1, config: TransformerConfig | None = None) -> None:
        super().__init__(n_inputs, width, capacity, config)
        self.layers, self.heads = self.config.layers, self.config.heads
        if width % (2 * self.heads):
            raise MetaRLError(
                f"A transformer's width={width} is shared by its heads={self.heads}, an even number each for the "
                f"rotation; take a multiple of {2 * self.heads}."
            )

    def init(self, generator: torch.Generator) -> Params:
        """Return orthogonal weights and zero biases; the more blocks, the less each adds at first."""
        params = {_START: torch.zeros(self.width), **_linear("in", self.n_inputs, self.width, 1.0, generator)}
        small = (2 * self.layers) ** -0.5
        for layer in range(self.layers):
            params |= {
                **_norm(f"{layer}.attention.norm", self.width),
                **_linear(f"{layer}.attention.in", self.width, 3 * self.width, 1.0, generator),
                **_linear(f"{layer}.attention.out", self.width, self.width, small, generator),
                **_norm(f"{layer}.mlp.norm", self.width),
                **_linear(f"{layer}.mlp.in", self.width, _WIDER * self.width, 2**0.5, generator),
                **_linear(f"{layer}.mlp.out", _WIDER * self.width, self.width, small, generator),
            }
        return {**params, **_norm("norm", self.width)}

    def initial(self, params: Params, n_tasks: int) -> State:
        start = params[_START]
        ring = start.new_zeros(n_tasks, self.capacity, self.width)
        rings = {name: ring for layer in range(self.layers) for name in _ring(layer)}
        count = torch.zeros(n_tasks, dtype=torch.int64, device=start.device)
        return {OUTPUT: start.expand(n_tasks, -1), COUNT: count, **rings}

    def read(self, params: Params, state: State) -> Tensor:
        """Return what the last block put out, normalised; before any input it is a vector that is learned."""
        return state[OUTPUT]

    def step(self, params: Params, state: State, x: Tensor) -> State:
        count, new = state[COUNT], dict(state)
        at = torch.arange(len(count), device=count.device), count % self.capacity
        filled = torch.arange(self.capacity, device=count.device) <= count[:, None]

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = _ring(layer)
            new[keys] = state[keys].index_put(at, key[:, 0])
            new[values] = state[values].index_put(at, value[:, 0])
            return self._attention(query, new[keys], new[values], filled[:, None])

        output = self._blocks(params, x[:, None], count[:, None], attend)[:, 0]
        return {**new, OUTPUT: output, COUNT: count + 1}

    def sequence(self, params: Params, state: State, x: Tensor, lengths: Tensor) -> tuple[Tensor, State]:
        count, steps = state[COUNT], torch.arange(x.shape[1], device=x.device)
        position = count[:, None] + steps
        total = count + lengths
        # What the ring holds now, and what it will: of each slot, the last position before this many that lies there.
        held, kept = (self._latest(number) for number in (count, total))
        longest = min(int(count.max()), self.capacity)  # slots beyond are empty in every row
        visible = None
        if longest or len(steps) > self.capacity:
            ago = position[:, :, None] - torch.cat([held[:, :longest], position], 1)[:, None]
            visible = (ago >= 0) & (ago < self.capacity)
            visible[..., :longest] &= held[:, None, :longest] >= 0
        rows = torch.arange(len(count), device=count.device)[:, None]
        source = torch.where(kept >= count[:, None], kept - count[:, None], -1)  # step of x, -1 where nothing new came
        new: State = {}

        def taken_in(name: str, now: Tensor) -> Tensor:
            ring = state[name]
            new[name] = torch.where(source[..., None] >= 0, now[rows, source.clamp(min=0)], ring)
            return torch.cat([ring[:, :longest], now], 1) if longest else now

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = _ring(layer)
            return self._attention(query, taken_in(keys, key), taken_in(values, value), visible)

        output = self._blocks(params, x, position, attend)
        last = torch.where((lengths > 0)[:, None], output[rows[:, 0], (lengths - 1).clamp(min=0)], state[OUTPUT])
        return output, {**new, OUTPUT: last, COUNT: total}

    def _latest(self, count: Tensor) -> Tensor:
        """The input that lies in each slot ``(task, capacity)`` after ``count`` of them, negative where none does."""
        last = count[:, None] - 1
        return last - (last - torch.arange(self.capacity, device=count.device)) % self.capacity

    def _blocks(self, params: Params, x: Tensor, position: Tensor, attend: Attend) -> Tensor:
        """Outputs ``(task, step, width)`` for inputs ``(task, step, n_inputs)`` at these positions ``(task, step)``."""
        turn = self._rotation(position, x.dtype)
        x = _apply(params, "in", x)
        for layer in range(self.layers):
            normed = _normalised(params, f"{layer}.attention.norm", x)
            query, key, value = _apply(params, f"{layer}.attention.in", normed).chunk(3, -1)
            x = x + _apply(params, f"{layer}.attention.out", attend(layer, turn(query), turn(key), value))
            inner = _apply(params, f"{layer}.mlp.in", _normalised(params, f"{layer}.mlp.norm", x))
            x = x + _apply(params, f"{layer}.mlp.out", functional.gelu(inner))
        return _normalised(params, "norm", x)

    def _rotation(self, position: Tensor, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """Turns pairs of numbers ``(task, step, width)`` by angles that grow with the position."""
        pairs = self.width // self.heads // 2
        # In double precision: thousands of turns would cost a float32 its last digits.
        frequency = _BASE ** -(torch.arange(pairs, dtype=torch.float64, device=position.device) / pairs)
        angle = (position[..., None] * frequency)[..., None, :]  # (task, step, head, pair)
        cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)

        def turn(x: Tensor) -> Tensor:
            a, b = x.unflatten(-1, (self.heads, 2, pairs)).unbind(-2)
            return torch.stack([a * cos - b * sin, a * sin + b * cos], -2).flatten(-3)

        return turn

    def _attention(self, query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None) -> Tensor:
        """Every head's part of ``(task, step, width)``; ``visible`` is ``(task, query, key)``, None for causal."""
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (query, key, value))
        mask = None if visible is None else visible[:, None]
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=visible is None)
        return mixed.transpose(1, 2).flatten(-2)


def _ring(layer: int) -> tuple[str, str]:
    return f"{PREFIX}{layer}.keys", f"{PREFIX}{layer}.values"


def _linear(name: str, n_in: int, n_out: int, gain: float, generator: torch.Generator) -> Params:
    weight = nn.init.orthogonal_(torch.empty(n_out, n_in), gain, generator=generator)
    return {f"{PREFIX}{name}.weight": weight, f"{PREFIX}{name}.bias": torch.zeros(n_out)}


def _norm(name: str, width: int) -> Params:
    return {f"{PREFIX}{name}.weight": torch.ones(width), f"{PREFIX}{name}.bias": torch.zeros(width)}


def _apply(params: Params, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, params[f"{PREFIX}{name}.weight"], params[f"{PREFIX}{name}.bias"])


def _normalised(params: Params, name: str, x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], params[f"{PREFIX}{name}.weight"], params[f"{PREFIX}{name}.bias"])
