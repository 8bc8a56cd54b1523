"""A step of policy and environments as one function of tensors, compiled or captured rather than run piece by piece."""

import warnings
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from metarl.core.checkpoint import prefixed, with_prefix
from metarl.core.errors import MetaRLError
from metarl.core.learner import keep_where
from metarl.core.types import Outputs, Params, State, Transition
from metarl.rollout.batch import PureBatch, PureStep, Step

Tensors = dict[str, Tensor]
Function = Callable[[Tensors], Tensors]
Act = Callable[[Params, State, Tensor, Tensor, bool], tuple[Tensor, Outputs]]
Observe = Callable[[Params, State, Transition], State]
_PARAMS, _STATE, _RECORD, _ENV = "params", "state", "record", "env"
_WARM_UP = 3  # calls before a capture, so that libraries make their handles and workspaces outside of it

Way = Literal["compiled", "captured", "both"]
"""How a step is made faster: by ``torch.compile``, as a CUDA graph, or as a CUDA graph of what was compiled."""


def way_to_compile(compile: bool | Way, device: torch.device) -> Way | None:
    """Return how steps are made faster on a device, or None where they run as they are.

    True is a CUDA graph on a GPU and ``torch.compile`` elsewhere. Raises where a graph is asked of another device.
    """
    if isinstance(compile, bool):
        default: Way = "captured" if device.type == "cuda" else "compiled"
        return default if compile else None
    if compile != "compiled" and device.type != "cuda":
        raise MetaRLError(f"compile={compile!r} captures a CUDA graph, and this is {device}; take True or 'compiled'.")
    return compile


class FellBack(UserWarning):
    """A step could not be compiled, and runs piece by piece."""


class CompiledStep:
    """A step of the policy, the environments and, of online learners, the memory, as one function.

    It is captured as a CUDA graph, or goes through ``torch.compile``, or both. Where that fails it runs piece by piece,
    with one warning; the numbers are the same within rounding.
    """

    def __init__(
        self,
        act: Act,
        observe: Observe | None,
        physics: PureStep,
        to_env: Callable[[Tensor], Tensor],
        rows: tuple[int, int],
        deterministic: bool,
        device: torch.device,
        way: Way,
    ) -> None:
        self._act, self._observe, self._physics, self._to_env = act, observe, physics, to_env
        self._rows, self._deterministic = rows, deterministic
        self._run: Function = faster(self._step, way)
        self._at_limit = {over: torch.full(rows, over, device=device) for over in (False, True)}

    def __call__(
        self,
        params: Params,
        state: State,
        ended: Tensor,
        observation: Tensor,
        noise: Tensor,
        batch: PureBatch,
        last: bool,
    ) -> tuple[Tensor, Outputs, Step, State]:
        """Return actions, their record, the outcome and the learner's state; ``last`` is true at the horizon."""
        given = {
            **prefixed(_PARAMS, params),
            **prefixed(_STATE, state),
            **prefixed(_ENV, batch.reads()),
            "observation": observation,
            "noise": noise,
        }
        if self._observe is not None:  # what nobody reads would only be copied
            given |= {"ended": ended, "at_limit": self._at_limit[last]}
        new = self._run(given)
        outcome = batch.take(with_prefix(_ENV, new))
        return new["action"], with_prefix(_RECORD, new), outcome, with_prefix(_STATE, new) if self._observe else state

    def _step(self, given: Tensors) -> Tensors:
        params, state = with_prefix(_PARAMS, given), with_prefix(_STATE, given)
        rows, observation = self._rows, given["observation"]
        action, record = self._act(params, state, observation, given["noise"], self._deterministic)
        new = self._physics(with_prefix(_ENV, given), self._to_env(action).flatten(0, 1))
        after: State = {}
        if self._observe is not None:
            terminated = new["terminated"].unflatten(0, rows)
            transition = Transition(
                observation=observation,
                action=action,
                reward=new["reward"].unflatten(0, rows),
                terminated=terminated,
                truncated=given["at_limit"] & ~terminated,
                next_observation=new["observation"].unflatten(0, rows),
            )
            after = keep_where(~given["ended"][:, 0], self._observe(params, state, transition), state)
        return {
            "action": action,
            **prefixed(_RECORD, record),
            **prefixed(_ENV, new),
            **prefixed(_STATE, after),
        }


def faster(function: Function, way: Way) -> Function:
    """Return the function captured or compiled, or as it is, with one warning, where that fails."""
    compiled = function if way == "captured" else _inductor(function)
    quick: Function | None = compiled if way == "compiled" else Graph(compiled)

    def run(given: Tensors) -> Tensors:
        nonlocal quick
        if quick is None:
            return function(given)
        try:
            return quick(given)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a compiler or a driver comes up with
            quick, reason = None, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        warnings.warn(f"A rollout's step could not be compiled and runs as it is ({reason}).", FellBack, stacklevel=2)
        return function(given)

    return run


def _inductor(function: Function) -> Function:
    compiled: Function = torch.compile(function, fullgraph=True, dynamic=False)
    return compiled


class Graph:
    """Capture a function of named tensors as a CUDA graph at the first call, and replay it from then on.

    Its inputs lie where they lay when it was captured: what has changed since the last call is copied there. Outputs
    are copies, for the next replay writes over them.
    """

    def __init__(self, function: Function) -> None:
        self._function = function
        self._static: Tensors = {}
        self._loaded: dict[str, tuple[Tensor, int]] = {}  # what was copied last, and its version then
        self._outputs: Tensors = {}
        self._replay: Callable[[], None] | None = None

    def __call__(self, given: Tensors) -> Tensors:
        if self._replay is None or {k: v.shape for k, v in given.items()} != {
            k: v.shape for k, v in self._static.items()
        }:
            self._static = {name: value.clone() for name, value in given.items()}
            self._loaded = {name: (value, value._version) for name, value in given.items()}
            self._replay, self._outputs = self.capture(self._function, self._static)
        else:
            self._load(given)
        self._replay()
        # What has two names is copied once: where an observation is the state, the state.
        copies = {id(value): value for value in self._outputs.values()}
        copies = {key: value.clone() for key, value in copies.items()}
        return {name: copies[id(value)] for name, value in self._outputs.items()}

    def _load(self, given: Tensors) -> None:
        stale = [
            name
            for name, value in given.items()
            if self._loaded[name][0] is not value or self._loaded[name][1] != value._version
        ]
        if stale:
            torch._foreach_copy_([self._static[name] for name in stale], [given[name] for name in stale])
        self._loaded |= {name: (given[name], given[name]._version) for name in stale}

    @staticmethod
    def capture(function: Function, static: Tensors) -> tuple[Callable[[], None], Tensors]:
        """Return a call that replays the function on these inputs, and the tensors that then hold its outputs."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                function(static)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = function(static)
        return graph.replay, outputs
