"""Grids with hidden rules: which key opens the door, and in which order two of three targets have to be visited."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor

from metarl.core.types import Outputs, Params, Transition
from metarl.envs.drawing import AGENT, FAINT, GOAL, INK, MUTED, PALE, PAPER, RULE, SUCCESS, Canvas
from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.family import register_family
from metarl.family.reference_policies import RandomPolicy, ReferencePolicy
from metarl.tasks import Choice, Task, TaskSpace

_ROOM, _HEIGHT = 3, 5  # cells of a room, sideways and upwards; the wall between the rooms is one cell thick
_WALL, _WIDTH = _ROOM, 2 * _ROOM + 1
_CELLS = _ROOM * _HEIGHT
_ARRANGEMENTS = _CELLS * (_CELLS - 1) * (_CELLS - 2)  # of three different things in a room
_LAYOUTS = tuple(map(float, range(100, _ARRANGEMENTS, 227)))  # those of them that there are
_START = (0.0, 2.0)
_UP, _RIGHT, _DOWN, _LEFT, _TAKE = range(5)
_ORDERS = ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))  # the first target and the second
_NONE = 3  # held where no key is
_REACHED, _STEP_COST = 1.0, 0.02
_SIGHT = 2  # cells that are seen in each direction


@register_family("metarl/RuleGrid-v0")
class RuleGrid(TorchFamily):
    """Take the right key, pass the door, and visit two of three targets in the right order; nobody says which.

    Three keys lie in the left room and three targets in the right one, with a door between. Where everything lies is
    seen; which key opens the door (3) and which two targets count, in which order (6), is not, and stays the same in all
    episodes of a trial. So adapting means to find out rules by trying them, not to find a place.

    | | |
    |---|---|
    | observation | ``full``: the walker's cell, the cells of keys, door and targets over the grid's size, the key in hand one-hot, whether the door is open, ``(20,)``. ``partial``: the 5 × 5 cells around the walker, each with wall, keys, closed door, targets (8 flags), and the key in hand, ``(203,)`` |
    | action | 0 up (y + 1), 1 right (x + 1), 2 down, 3 left, 4 take the key that lies here in exchange for the one in hand |
    | reward | 1 on the first target and 1 on the second after it, each once; -.02 a step |
    | termination | with the second target |

    A task is one of 18 rules with one of 5 doors and 12 × 12 arrangements: 12,960 in all.
    """  # noqa: E501 (a table's row is one line)

    paper = "a small relative of XLand-MiniGrid's rules and goals, Nikulin et al. 2024"
    tasks = TaskSpace(
        key=Choice((0.0, 1.0, 2.0)),
        order=Choice(tuple(map(float, range(len(_ORDERS))))),
        door=Choice(tuple(map(float, range(_HEIGHT)))),
        keys=Choice(_LAYOUTS),
        targets=Choice(_LAYOUTS),
    )
    default_task: ClassVar[Mapping[str, Any]] = {
        "key": 1.0,
        "order": 3.0,
        "door": 4.0,
        "keys": 781.0,
        "targets": 1462.0,
    }
    observation_space = Box(0.0, 1.0, (20,), np.float32)
    action_space = Discrete(5)
    horizon = 60
    episodes_per_trial = 4
    floor, optimum = "try in turn", "knows the rules"
    exact_optimum = True

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "full": {},
        "partial": {"observation_space": Box(0.0, 1.0, ((2 * _SIGHT + 1) ** 2 * 8 + 3,), np.float32)},
    }

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        none = torch.zeros_like(task["key"])
        cell = torch.stack([none + _START[0], none + _START[1]], -1)
        return {"cell": cell, "held": none + _NONE, "open": none, "reached": none}

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        keys, targets, first, second = _layout(task)
        wanted = _moved(state["cell"], action)
        at_door = wanted[:, 1] == task["door"]
        fits = state["held"] == task["key"]
        opened = torch.maximum(state["open"], ((wanted[:, 0] == _WALL) & at_door & fits).to(wanted.dtype))
        blocked = (wanted[:, 0] == _WALL) & ~(at_door & (opened > 0))
        cell = torch.where(blocked[:, None], state["cell"], wanted)
        here = (keys == cell[:, None]).all(-1)  # (environment, key)
        take = (action == _TAKE) & here.any(-1)
        held = torch.where(take, here.to(torch.int64).argmax(-1).to(cell.dtype), state["held"])
        due = torch.where(state["reached"] == 0, first, second)
        target = targets[torch.arange(len(cell), device=cell.device), due]
        hit = (cell == target).all(-1)
        reached = state["reached"] + hit.to(cell.dtype)
        after = {"cell": cell, "held": held, "open": opened, "reached": reached}
        return after, _REACHED * hit.to(cell.dtype) - _STEP_COST, reached == len(_ORDERS[0])

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        keys, targets, _, _ = _layout(task)
        held = (state["held"][:, None] == torch.arange(_NONE, device=keys.device)).to(keys.dtype)
        if self.variant == "partial":
            return torch.cat([_view(state, task, keys, targets).flatten(1), held], -1)
        x, y = torch.cat([state["cell"][:, None], keys, targets], 1).unbind(-1)
        cells = torch.stack([x / (_WIDTH - 1), y / (_HEIGHT - 1)], -1)
        door = task["door"][:, None] / (_HEIGHT - 1)
        return torch.cat(
            [cells.flatten(1), door, door.new_full(door.shape, _WALL / (_WIDTH - 1)), held, state["open"][:, None]], -1
        )

    def reference_policies(self) -> dict[str, ReferencePolicy]:
        return {
            "random": RandomPolicy(self.action_space),
            "try in turn": TryInTurn(),
            "knows the rules": KnowsTheRules(),
        }

    def render(self, history: Sequence[Mapping[str, NDArray[Any]]], task: Task) -> NDArray[np.uint8]:
        canvas = Canvas((-0.7, _WIDTH - 0.3), (-0.65, _HEIGHT), 480, 380)
        tensors = {name: torch.as_tensor(np.asarray(value))[None] for name, value in task.items()}
        keys, targets, first, second = _layout(tensors)
        now = history[-1]
        for x in range(_WIDTH):
            for y in range(_HEIGHT):
                door = x == _WALL and y == float(task["door"])
                colour = (PALE if now["open"] else MUTED) if door else INK if x == _WALL else PAPER
                canvas.rectangle((x - 0.46, y - 0.46), (x + 0.46, y + 0.46), colour, RULE, 5)
        for i, (x, y) in enumerate(keys[0].tolist()):
            canvas.disc((x, y), 13, None, SUCCESS if i == int(task["key"]) else FAINT)
            canvas.text((x, y), str(i + 1), INK, 13)
        for i, (x, y) in enumerate(targets[0].tolist()):
            place = [int(first), int(second)].index(i) if i in (int(first), int(second)) else None
            colour = FAINT if place is None else PALE if place < int(now["reached"]) else GOAL
            canvas.rectangle((x - 0.34, y - 0.34), (x + 0.34, y + 0.34), colour, None, 4)
            canvas.text((x, y), "-" if place is None else str(place + 1), PAPER, 14)
        canvas.trail([state["cell"] for state in history], 3)
        canvas.disc(now["cell"], 9, AGENT, PAPER)
        held = int(now["held"])
        canvas.caption(f"step {len(history) - 1}, {'no key' if held == _NONE else f'key {held + 1}'}")
        return canvas.array()


def _layout(task: TaskTensors) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cells of the keys and of the targets ``(environment, 3, 2)``, and which target is first and which second."""
    first, second = task["order"].long() // 2, task["order"].long() % 2
    x, y = _arranged(task["targets"]).unbind(-1)
    return _arranged(task["keys"]), torch.stack([x + _WALL + 1, y], -1), first, second + (second >= first)


def _arranged(number: Tensor) -> Tensor:
    """The arrangement of three things on different cells of a room that has this number, ``(environment, 3, 2)``."""
    rank = number.long()
    a = rank // ((_CELLS - 1) * (_CELLS - 2))
    b = rank // (_CELLS - 2) % (_CELLS - 1)
    b = b + (b >= a)
    c = rank % (_CELLS - 2)
    c = c + (c >= torch.minimum(a, b))
    c = c + (c >= torch.maximum(a, b))
    cells = torch.stack([a, b, c], -1)
    return torch.stack([cells % _ROOM, cells // _ROOM], -1).to(number.dtype)


def _moved(cell: Tensor, action: Tensor) -> Tensor:
    """The cell that an action leads to if no wall stands between the rooms."""
    x = (action == _RIGHT).long() - (action == _LEFT).long()
    y = (action == _UP).long() - (action == _DOWN).long()
    return torch.stack([(cell[:, 0] + x).clamp(0, _WIDTH - 1), (cell[:, 1] + y).clamp(0, _HEIGHT - 1)], -1)


def _view(state: State, task: TaskTensors, keys: Tensor, targets: Tensor) -> Tensor:
    """What is on each of the cells around the walker, ``(environment, 25, 8)``: wall, closed door, keys, targets."""
    reach = torch.arange(-_SIGHT, _SIGHT + 1, device=keys.device, dtype=keys.dtype)
    around = torch.cartesian_prod(reach, reach)
    cells = state["cell"][:, None] + around  # (environment, 25, 2)
    x, y = cells.unbind(-1)
    outside = (x < 0) | (x >= _WIDTH) | (y < 0) | (y >= _HEIGHT)
    door = (x == _WALL) & (y == task["door"][:, None])
    wall = outside | ((x == _WALL) & ~door)
    closed = door & (state["open"][:, None] == 0)
    things = (cells[:, :, None] == torch.cat([keys, targets], 1)[:, None]).all(-1)
    return torch.cat([wall[..., None], closed[..., None], things], -1).to(keys.dtype)


def _towards(cell: Tensor, goal: Tensor) -> Tensor:
    """The first step of a shortest way between two cells ``(environment, 2)``, through the door where that is the goal
    or behind it; ``_TAKE`` where they are the same."""
    x, y = (goal - cell).unbind(-1)
    sideways = torch.where(x > 0, _RIGHT, _LEFT)
    upwards = torch.where(y > 0, _UP, _DOWN)
    in_door = cell[:, 0] == _WALL
    step = torch.where((y != 0) & ~(in_door & (x != 0)), upwards, sideways)
    return torch.where((x == 0) & (y == 0), _TAKE, step)


class _Walker(ReferencePolicy):
    """A policy that knows where everything lies, though not by its observation, and walks to it."""

    def _route(self, task: TaskTensors, cell: Tensor, key: Tensor, target: Tensor, held: Tensor) -> Tensor:
        """The next action: to a key unless it is in hand, to the door, to a target."""
        keys, targets, _, _ = _layout(task)
        rows = torch.arange(len(cell), device=cell.device)
        door = torch.stack([torch.full_like(task["door"], _WALL), task["door"]], -1)
        passed = cell[:, 0] >= _WALL
        goal = torch.where(held[:, None] == key[:, None], door, keys[rows, key.long()])
        goal = torch.where(passed[:, None], targets[rows, target.long()], goal)
        return _towards(cell, goal)


class KnowsTheRules(_Walker):
    """The optimum: the shortest way over the right key, the door and the two targets."""

    def begin_episode(self, params: Params, state: State, noise: Tensor) -> State:
        step = torch.zeros_like(state["step"])
        return {"step": step, "cell": _starts(params, step), "held": step + _NONE, "reached": step}

    def act(
        self, params: Params, state: State, observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        task = self.task(params)
        _, _, first, second = _layout(task)
        due = torch.where(state["reached"] == 0, first, second)
        return self._route(task, state["cell"], task["key"].long(), due, state["held"])[:, None], {}

    def observe(self, params: Params, state: State, transition: Transition) -> State:
        action, task = transition.action[:, 0], self.task(params)
        taken = action == _TAKE
        reached = state["reached"] + (transition.reward[:, 0] > 0).long()
        held = torch.where(taken, task["key"].long(), state["held"])
        return {"step": state["step"] + 1, "cell": _moved(state["cell"], action), "held": held, "reached": reached}


class TryInTurn(_Walker):
    """A task-blind policy: key after key until the door opens, then target after target; every episode it begins anew.

    It knows the layout, which the observation shows, and neither rule.
    """

    def begin_episode(self, params: Params, state: State, noise: Tensor) -> State:
        step = torch.zeros_like(state["step"])
        return {"step": step, "cell": _starts(params, step), "held": step + _NONE, "key": step, "target": step}

    def act(
        self, params: Params, state: State, observation: Tensor, noise: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Outputs]:
        action = self._route(self.task(params), state["cell"], state["key"], state["target"], state["held"])
        return action[:, None], {}

    def observe(self, params: Params, state: State, transition: Transition) -> State:
        action, task = transition.action[:, 0], self.task(params)
        _, targets, _, _ = _layout(task)
        wanted = _moved(state["cell"], action)
        shut = (wanted[:, 0] == _WALL) & (state["cell"][:, 0] < _WALL) & (state["held"] != task["key"].long())
        cell = torch.where(shut[:, None], state["cell"], wanted)
        held = torch.where(action == _TAKE, state["key"], state["held"])
        rows = torch.arange(len(cell), device=cell.device)
        there = (cell == targets[rows, state["target"]]).all(-1)
        return {
            "step": state["step"] + 1,
            "cell": cell,
            "held": held,
            "key": (state["key"] + shut.long()) % 3,
            "target": (state["target"] + there.long()) % 3,
        }


def _starts(params: Params, step: Tensor) -> Tensor:
    like = next(iter(params.values()))
    return like.new_tensor(_START).expand(len(step), 2)
