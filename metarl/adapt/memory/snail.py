"""A memory that looks back by convolutions over time and by attention."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt.memory.base import PREFIX, Memory
from metarl.adapt.memory.registry import register_memory
from metarl.adapt.memory.transformer import COUNT, OUTPUT
from metarl.core.config import at_least, check_config
from metarl.core.networks import MLP
from metarl.core.types import Params, State

SEEN = PREFIX + "seen"
_START = PREFIX + "start"
_READ = PREFIX + "read."
_ALIKE = 2.0  # gain of queries and keys at first


@dataclass(frozen=True, kw_only=True)
class SNAILConfig:
    """The size of a SNAIL."""

    layers: int = 2  # times convolutions over time and attention, after a first attention
    filters: int | None = None  # numbers that a convolution makes; half of the width unless given

    def __post_init__(self) -> None:
        check_config(self, {"layers": at_least(1), "filters": at_least(1)})


@register_memory("snail")
class SNAIL(Memory):
    """A simple neural attentive learner over the last ``capacity`` inputs (Mishra et al. 2018, section 3).

    Attention, then ``layers`` times convolutions over time and attention, each of which puts what it makes beside what
    it was given; then a linear map to ``width``. The paper has two layers for few samples. Attention has one head,
    keys and values of ``width`` numbers. Convolutions are causal, of two inputs 1, 2, 4, ... apart until together they
    reach over the capacity, gated (tanh times sigmoid), ``filters`` numbers each.

    The state is what was put out last, how many inputs there were, and of the last ``capacity`` of them, the newest
    last: all that the blocks have made of each ``(task, capacity, feature)``, and each attention's keys and values
    ``(task, capacity, width)``. So a step computes no input again. Older inputs are forgotten, as the transformer does:
    through later blocks they still act.
    """

    config_class = SNAILConfig
    config: SNAILConfig

    def __init__(self, n_inputs: int, width: int, capacity: int = 1, config: SNAILConfig | None = None) -> None:
        super().__init__(n_inputs, width, capacity, config)
        self.layers, self.filters = self.config.layers, self.config.filters or max(width // 2, 1)
        self.dilations = [2**i for i in range(max(1, (capacity - 1).bit_length()))]
        n = n_inputs
        self.attention: list[MLP] = []
        self.convolutions: list[list[MLP]] = []
        for layer in range(self.layers + 1):
            if layer:
                self.convolutions.append([])
                for _ in self.dilations:
                    self.convolutions[-1].append(MLP((2 * n, 2 * self.filters), output_gain=1.0))
                    n += self.filters
            self.attention.append(MLP((n, 3 * width), output_gain=1.0))
            n += width
        self.n_features = n
        self.out = MLP((n, width), output_gain=1.0)

    def init(self, generator: torch.Generator) -> Params:
        """Return orthogonal weights and zero biases; queries and keys begin alike: an input attends to those like it.

        From weights of their own it takes far longer until anything is learned: of drawn characters nothing in 120
        iterations, after which it is otherwise right in 68 % of five ways.
        """
        nets = {_READ: self.out}
        for layer, attention in enumerate(self.attention):
            nets[_attention(layer)] = attention
        for layer, convolutions in enumerate(self.convolutions):
            nets |= {_convolution(layer, i): convolution for i, convolution in enumerate(convolutions)}
        made = {prefix + name: value for prefix, net in nets.items() for name, value in net.init(generator).items()}
        for layer in range(self.layers + 1):
            weight = made[_attention(layer) + "0.weight"]
            weight[: self.width] *= _ALIKE
            weight[self.width : 2 * self.width] = weight[: self.width]
        return {_START: torch.zeros(self.width), **made}

    def initial(self, params: Params, n_tasks: int) -> State:
        start = params[_START]
        none = start.new_zeros(n_tasks, self.capacity, self.width)
        kept = {name: none for layer in range(self.layers + 1) for name in _kept(layer)}
        count = torch.zeros(n_tasks, dtype=torch.int64, device=start.device)
        seen = start.new_zeros(n_tasks, self.capacity, self.n_features)
        return {OUTPUT: start.expand(n_tasks, -1), COUNT: count, SEEN: seen, **kept}

    def read(self, params: Params, state: State) -> Tensor:
        """Return what was put out last; before any input it is a vector that is learned."""
        return state[OUTPUT]

    def step(self, params: Params, state: State, x: Tensor) -> State:
        # Nothing is read from the device, which would have to be waited for: it looks back on empty places, too.
        return self._take_in(params, state, x[:, None], torch.ones_like(state[COUNT]), self.capacity, whole=True)[1]

    def sequence(self, params: Params, state: State, x: Tensor, lengths: Tensor) -> tuple[Tensor, State]:
        longest = min(int(state[COUNT].max()), self.capacity)  # what lies before is empty in every row
        return self._take_in(params, state, x, lengths, longest, whole=bool((lengths == x.shape[1]).all()))

    def _take_in(
        self, params: Params, state: State, x: Tensor, lengths: Tensor, longest: int, *, whole: bool
    ) -> tuple[Tensor, State]:
        """What is put out for inputs ``(task, step, n_inputs)``, and the state after the first ``lengths`` of them.

        ``longest``: how many before them may not be empty. ``whole``: whether all rows have all of them.
        """
        count, n = state[COUNT], x.shape[1]
        visible = self._visible(count, longest, n)
        rows = torch.arange(len(count), device=count.device)
        last = lengths[:, None] + torch.arange(self.capacity, device=count.device)
        new: State = {}

        def before(name: str) -> Tensor:
            return state[name][:, self.capacity - longest :]

        def keep(name: str, now: Tensor) -> None:
            every = torch.cat([state[name], now], 1)
            new[name] = every[:, n:] if whole else every[rows[:, None], last]

        def window(name: str, now: Tensor) -> Tensor:
            keep(name, now)
            return torch.cat([before(name), now], 1)

        for layer in range(self.layers + 1):
            if layer:
                x = self._convolved(params, layer - 1, before(SEEN), x)
            query, key, value = self.attention[layer](params, x, _attention(layer)).chunk(3, -1)
            keys, values = _kept(layer)
            key, value = window(keys, key), window(values, value)
            mixed = functional.scaled_dot_product_attention(query, key, value, visible, is_causal=visible is None)
            x = torch.cat([x, mixed], -1)
        keep(SEEN, x)
        output = self.out(params, x, _READ)
        end = torch.where((lengths > 0)[:, None], output[rows, (lengths - 1).clamp(min=0)], state[OUTPUT])
        return output, {**new, OUTPUT: end, COUNT: count + lengths}

    def _convolved(self, params: Params, layer: int, before: Tensor, x: Tensor) -> Tensor:
        """``x`` ``(task, step, feature)`` and what each convolution makes of it and of those ``before``."""
        longest, n = before.shape[1], x.shape[1]
        for i, (dilation, net) in enumerate(zip(self.dilations, self.convolutions[layer], strict=True)):
            every = torch.cat([before[..., : x.shape[-1]], x], 1)
            # As many zeros in front as the convolution looks back: nothing was there.
            ago = functional.pad(every, (0, 0, dilation, 0))[:, longest : longest + n]
            signal, gate = net(params, torch.cat([ago, x], -1), _convolution(layer, i)).chunk(2, -1)
            x = torch.cat([x, signal.tanh() * gate.sigmoid()], -1)
        return x

    def _visible(self, count: Tensor, longest: int, n: int) -> Tensor | None:
        """Which of ``longest`` inputs before and ``n`` now each of these sees, ``(task, n, longest + n)``.

        None where that is every one until itself.
        """
        if not longest and n <= self.capacity:
            return None
        step = torch.arange(n, device=count.device)[:, None]
        ago = step + longest - torch.arange(longest + n, device=count.device)
        return (ago >= 0) & (ago < self.capacity) & (ago <= count[:, None, None] + step)


def _attention(layer: int) -> str:
    return f"{PREFIX}{layer}.attention."


def _convolution(layer: int, i: int) -> str:
    return f"{PREFIX}{layer}.convolution.{i}."


def _kept(layer: int) -> tuple[str, str]:
    return f"{PREFIX}{layer}.keys", f"{PREFIX}{layer}.values"
