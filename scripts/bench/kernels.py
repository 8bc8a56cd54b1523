"""The kernels of a step of point navigation, counted without a GPU: ``python bench/kernels.py`` in scripts/.

A rollout whose step is captured plays on torch's meta device, where every operation that would be a kernel is counted:
those inside the graph once, and those around it, which load its inputs and keep its outputs, a step. Views are none.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from metarl.agents.maml import MAML
from metarl.core.random import philox, stream_keys
from metarl.family import make_family
from metarl.rollout import recording
from metarl.rollout.compiled import Graph, Tensors
from metarl.rollout.context import RolloutContext
from metarl.rollout.rollout import rollout

_POINT, _TASKS, _ENVS = "metarl/PointNavigation-v0", 4, 20
_SHORT, _LONG = 3, 5  # steps of the two rollouts whose difference is counted
_NO_KERNEL = {"empty", "empty_like", "new_empty", "empty_strided", "detach"}  # they compute nothing


class Operations(TorchDispatchMode):
    """Counts the operations that compute something, as a GPU would run them.

    A product that adds a broadcast bias copies it first, and a copy of several tensors of different types is one each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = op(*args, **(kwargs or {}))
        name = op.overloadpacket.__name__
        view = any(each.alias_info is not None and not each.alias_info.is_write for each in op._schema.returns)
        if not view and name not in _NO_KERNEL:
            self.count[name] += len(args[0]) if name == "_foreach_copy_" else 1
            if name == "baddbmm" and args[0].shape != out.shape:
                self.count["copy of a bias"] += 1
        return out


@dataclass(frozen=True)
class Kernels:
    """The numbers of kernels of one step of all environments."""

    inside: dict[str, int]  # of the graph, by operation
    around: dict[str, int]  # inputs loaded, outputs copied, what ended

    @property
    def total(self) -> int:
        """Number of all of them."""
        return sum(self.inside.values()) + sum(self.around.values())

    def __str__(self) -> str:
        parts = (
            f"{sum(part.values())} {place} ({', '.join(f'{n} {name}' for name, n in sorted(part.items()))})"
            for part, place in ((self.inside, "inside the graph"), (self.around, "around it"))
        )
        return f"{self.total} kernels a step: {' and '.join(parts)}"


def _numbers(
    philox: Callable[..., tuple[Tensor, ...]], counter: tuple[Tensor, ...], key: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Return any numbers on the meta device, and the generator's own on the CPU, where splits are drawn."""
    return torch.broadcast_tensors(*counter, *key)[:4] if counter[0].is_meta else philox(counter, key)


def kernels_of_a_step() -> Kernels:
    """Count the kernels of a captured step of point navigation with a policy of 64 × 64 for each task."""
    _counted(_SHORT)  # makes what is kept, such as the limits of the actions
    (short, inside), (long, _) = _counted(_SHORT), _counted(_LONG)
    return Kernels(dict(inside), {name: n // (_LONG - _SHORT) for name, n in (long - short).items()})


def _counted(steps: int) -> tuple[Counter[str], Counter[str]]:
    """Count the operations of a rollout of so many steps, and those of its capture."""
    inside = Operations()

    def capture(function: Callable[[Tensors], Tensors], static: Tensors) -> tuple[Callable[[], None], Tensors]:
        with inside:
            outputs = function(static)
        return lambda: None, outputs

    with _pretended(capture, steps), Operations() as whole:
        _play(steps)
    return whole.count, inside.count


def _play(steps: int) -> None:
    family = make_family(_POINT)
    vars(family)["horizon"] = steps
    agent = MAML(family, MAML.config_class(hidden=(64, 64), episodes=_ENVS))
    params = {name: value.to("meta") for name, value in agent.params.items()}
    tasks = family.tasks.sample(stream_keys(_TASKS, 0, "kernels")).repeat(_ENVS)
    batch = family.batch(tasks, stream_keys(_TASKS * _ENVS, 0, "kernels"), "meta")
    state = {name: value.contiguous() for name, value in agent.learner.initial(params, _TASKS).items()}
    rollout(agent.learner, params, state, batch, n_envs=_ENVS, context=RolloutContext("captured"))


@contextmanager
def _pretended(capture: Any, steps: int) -> Iterator[None]:
    """Put the meta device in a GPU's place: it captures by calling, and a rollout ends at its horizon.

    Random numbers are drawn before the steps, by a hundred operations that are slow on this device; here they are not.
    """
    with (
        patch("metarl.envs.engine.torch.check_device", torch.device),
        patch("metarl.rollout.rollout.way_to_compile", lambda *_: "captured"),
        patch("metarl.core.random.philox", partial(_numbers, philox)),
        patch.object(Graph, "capture", staticmethod(capture)),
        patch.object(recording, "read", lambda _: [steps, 1]),
    ):
        yield


if __name__ == "__main__":
    print(kernels_of_a_step())
