"""The check of a family: a sound one passes, and every kind of mistake is named, with its remedy."""

# ruff: noqa: ARG001  # the functions here stand in for methods, whose arguments are given

import re
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete
from torch import Tensor

from metarl.envs.engine.torch import TorchBatch, TorchFamily
from metarl.family.checks import check
from metarl.family.checks.check import check_family
from metarl.family.reference_policies import FunctionPolicy
from metarl.rollout.batch import Step
from metarl.tasks import Fresh, Split, SplitRule, Tasks, TaskSpace, Uniform


def moved(self: Any, state: Any, action: Tensor) -> Tensor:
    return state["position"] + action


def result(position: Tensor, **replaced: Any) -> Any:
    distance = position.norm(dim=-1)
    parts = {"state": {"position": position}, "reward": -distance, "terminated": distance < 0, **replaced}
    return tuple(parts.values())


def reads_too_many(self: Any, task: Any, u: Tensor) -> Any:
    return {"position": u[:, 5:] + u[:, 5]}


def reduces(self: Any, state: Any, action: Tensor, task: Any, u: Tensor) -> Any:
    position = moved(self, state, action)
    return result(position, reward=-position.norm(dim=-1).mean().expand(len(position)))


def draws_its_own(self: Any, state: Any, action: Tensor, task: Any, u: Tensor) -> Any:
    return result(moved(self, state, action) + 0.01 * torch.rand_like(action))


def counts_on_self(self: Any, state: Any, action: Tensor, task: Any, u: Tensor) -> Any:
    self.calls = getattr(self, "calls", 0) + 1
    position = moved(self, state, action)
    return result(position, reward=torch.full((len(position),), float(self.calls)))


def in_place(self: Any, state: Any, action: Tensor, task: Any, u: Tensor) -> Any:
    state["position"] += action
    return result(state["position"].clone())


def constants_on_the_cpu(self: Any, state: Any, action: Tensor, task: Any, u: Tensor) -> Any:
    return result(moved(self, state, action) + torch.tensor([[0.0, 1e-9]]))


class ForgetsKeys(TorchBatch):
    """Every environment has the keys of one."""

    def __init__(self, family: Any, tasks: Tasks, keys: Tensor, device: Any, dtype: Any) -> None:
        super().__init__(family, tasks, torch.zeros_like(keys) + 7, device, dtype)


class StopsEarly(TorchBatch):
    """Truncates one step before the horizon."""

    def step(self, action: Tensor) -> Step:
        step = super().step(action)
        late = torch.as_tensor(self.clock.elapsed) >= torch.full_like(step.reward, self.horizon - 1)
        return step._replace(truncated=late)


class ForgetsTasks(TorchBatch):
    """Ignores new tasks."""

    def set_tasks(self, tasks: Tasks, rows: Tensor) -> None:
        pass


class ForgetsTasksOnReset(TorchBatch):
    """Goes back to the task that it was made with."""

    def reset(self, episode: Any = 0, rows: Any = None) -> Tensor:
        self.made = getattr(self, "made", self.task)
        if bool((torch.as_tensor(episode) > 0).all()) and self.num_envs == 1:
            self.task = self.made
        return super().reset(episode, rows)

    def set_tasks(self, tasks: Tasks, rows: Tensor) -> None:
        self.made = getattr(self, "made", self.task)
        super().set_tasks(tasks, rows)


def engine(batch: type[TorchBatch]) -> Callable[..., TorchBatch]:
    return lambda self, tasks, keys, device="cpu", dtype=torch.float32: batch(self, tasks, keys, device, dtype)


class Drifting(SplitRule):
    """Draws its test tasks from a stream of its own, other ones each time."""

    kind = "fresh"

    def _parts(self, name: str, space: TaskSpace, n_test: int) -> tuple[None, Tasks, None]:
        return None, Tasks({"goal": np.random.default_rng().uniform(-1, 1, (n_test, 2))}), None


class Overlapping(Split):
    """Trains on the tasks that it tests."""

    def train(self, keys: Tensor, trial: Any = 0) -> Tasks:
        return self.test[[0] * len(keys)]


class Leaky(Fresh):
    """A fresh split that leaks."""

    def make(self, name: str, space: TaskSpace, ood: Any = None, test: Any = None) -> Split:
        return Overlapping("fresh", space, super().make(name, space, None, test).test)


# name of the check that finds it -> mistakes, each with words of the problem
MISTAKES: dict[str, list[tuple[dict[str, Any], str]]] = {
    "declaration": [
        ({"__doc__": None}, "no docstring"),
        ({"horizon": 10.0}, "horizon = 10.0 is no whole number"),
        ({"episodes_per_trial": 0}, "episodes_per_trial = 0"),
        ({"observation_space": Dict(a=Box(-1, 1))}, "observation_space = Dict.*Make it a Box"),
        ({"observation_space": Discrete(3)}, "one-hot"),
        ({"action_space": Box(-np.inf, np.inf, (2,))}, "unbounded.*finite limits"),
        ({"action_space": Box(0, 0, (2,))}, "low < high"),
        ({"action_space": gymnasium.spaces.MultiBinary(2)}, "Discrete or a bounded Box"),
        ({"draws": (2,)}, r"draws = \(2,\)"),
        ({"split": Fresh}, "no split rule.*an instance"),
        ({"tasks": {"goal": (0, 1)}}, "Declare TaskSpace"),
        ({"ood": TaskSpace(aim=Uniform(-2, 2, shape=(2,)))}, "ood has .'aim'.*same names"),
        ({"default_task": {"goal": (0, 5)}}, "default_task is no task: .*lies outside"),
        ({"floor": "sit"}, "floor = 'sit' is no reference policy of the family; it has stay, go"),
        ({"reference_policies": lambda self: {"stay": 0, "go": 0}}, "'stay' is a int.*FunctionPolicy"),
        ({"reference_policies": lambda self: 1 / 0}, "raised ZeroDivisionError at test_check.py"),
    ],
    "splits": [
        ({"ood": TaskSpace(goal=Uniform(-0.5, 0.5, shape=(2,)))}, "ood range .* lies inside the training range"),
        ({"split": Drifting()}, "made anew to .*stream_keys"),
        ({"split": Leaky(), "ood": None}, "256 of 256 training tasks are test tasks.*Closed"),
    ],
    "functions": [
        ({"reset": lambda self, task, u: {}}, "state that reset returns is an empty dict"),
        ({"reset": lambda self, task, u: u}, "state that reset returns is a Tensor"),
        ({"reset": lambda self, task, u: {"position": 0.0}}, r"state\['position'\] that reset returns is a float"),
        ({"reset": reads_too_many}, r"`reads_too_many` raised IndexError at test_check.py:\d+: .* u \(n, 2\) in reset"),
        ({"observe": lambda self, state, task: state["position"][:, :1]}, r"observe returns has shape \(8, 1\)"),
        ({"observe": lambda self, state, task: state["position"].double()}, "float64.*Return a float32 tensor"),
        (
            {"step": lambda self, state, action, task, u: result(moved(self, state, action))[:2]},
            "step returns 2 values",
        ),
        (
            {"step": lambda self, s, a, t, u: result(moved(self, s, a), reward=a[:, :1])},
            r"reward that step returns has shape \(8, 1\)",
        ),
        (
            {"step": lambda self, s, a, t, u: result(moved(self, s, a), terminated=a[:, 0] * 0)},
            "terminated that step returns is torch.float32.*Return a bool tensor",
        ),
        ({"step": lambda self, s, a, t, u: result(moved(self, s, a), state={"x": a})}, r"returns the state \['x'\]"),
        (
            {"step": lambda self, s, a, t, u: result(moved(self, s, a), state={"position": a.double()})},
            "float32 after reset and .*float64 after step",
        ),
        ({"step": lambda self, s, a, t, u: result(moved(self, s, a), extras={"n": 3})}, "extra 'n' .* is a int"),
        ({"step": lambda self, s, a, t, u: result(moved(self, s, a), extras=a)}, "extras .* are a Tensor"),
        ({"step": lambda self, s, a, t, u: result(moved(self, s, a), extras={"task": a})}, "hide what info has"),
    ],
    "purity": [({"step": in_place}, r"step changes the state\['position'\].*x = x \+ a")],
    "device": [({"step": constants_on_the_cpu}, "device=u.device")],
    "default task": [
        (
            {"step": lambda self, s, a, t, u: result(moved(self, s, a), terminated=a[:, 0] == 0)},
            "8 of 8 episodes end at their first step, standing still",
        ),
    ],
    "spaces": [
        ({"observation_space": Box(-1, 1, (2,))}, r"leaves its space: .* is not in \[-1, 1\].*Widen"),
        (
            {"step": lambda self, s, a, t, u: result(moved(self, s, a), reward=a[:, 0] / 0)},
            "reward is not finite.*goal=",
        ),
        ({"step": lambda self, s, a, t, u: result(moved(self, s, a) / 0)}, "observation is not finite"),
    ],
    "horizon": [
        ({"horizon": 1}, "horizon = 1, and its one step does not terminate"),
        ({"batch": engine(StopsEarly)}, "truncated after 9 steps, the horizon is 10"),
    ],
    "same seed": [
        ({"step": draws_its_own}, "other numbers played again.*randomness from u"),
        ({"step": counts_on_self}, "self"),
    ],
    "chunked": [({"step": reduces}, "batch of 4 is not part of a batch of 8 .*reward differs.*axis 0")],
    "streams": [({"batch": engine(ForgetsKeys)}, "8 environments with keys of their own play alike")],
    "reference_policies": [
        ({"floor": "go", "optimum": "stay"}, "floor 'go' earns .* more than the optimum 'stay'"),
        (
            {
                "reference_policies": lambda self: {
                    n: FunctionPolicy(lambda o, t, step: o[:, 0, 9]) for n in ("stay", "go")
                }
            },
            "IndexError",
        ),
    ],
    "Stable-Baselines3's check_env": [
        (
            {
                "action_space": Discrete(2, start=1),
                "step": lambda self, s, a, t, u: result(s["position"]),
                "reference_policies": lambda self: {},
                "floor": None,
                "optimum": None,
            },
            "non-zero start",
        ),
    ],
    "single equals batch": [({"batch": engine(ForgetsTasks)}, "A single environment and the vector differ in reward")],
    "task survives": [
        ({"batch": engine(ForgetsTasksOnReset)}, "is played differently from one set at construction"),
        ({"__init__": lambda self, v=None: (TorchFamily.__init__(self, v), setattr(self, "f", lambda: 0))[0]}, "ickle"),
    ],
    "render": [
        ({"render": lambda self, history, task: np.zeros((8, 8), np.uint8)}, r"uint8 \(8, 8\).*\(height, width, 3\)"),
        ({"render": lambda self, history, task: np.zeros((8, 8, 3))}, "float64"),
    ],
    "docs example": [({"__doc__": "An example.\n\n    >>> 1 + 1\n    3\n    "}, "Expected: 3 Got: 2")],
}


def test_a_sound_family_passes_every_check() -> None:
    report = check_family("check/Sound-v0")
    assert report.ok, str(report)
    assert report.checks == [name for stage in check.STAGES for name in stage]
    assert not report.skipped
    assert str(report) == f"check/Sound-v0:default: ok ({len(report.checks)} checks)"


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [pytest.param(name, *m, id=f"{name}-{i}") for name, found in MISTAKES.items() for i, m in enumerate(found)],
)
def test_every_mistake_is_named_with_its_remedy(
    broken: Callable[..., str], name: str, changes: dict[str, Any], words: str
) -> None:
    report = check_family(broken(**changes))
    found = [problem for problem in report.problems if problem.check == name]
    assert found, f"only found: {report}"
    assert re.search(words, " / ".join(map(str, found)))
    assert all(problem.what and problem.remedy for problem in report.problems)


def test_every_check_has_a_mistake_that_it_finds() -> None:
    # Gymnasium's checker finds nothing that an earlier check of ours does not: it is there for what it may learn.
    assert {name for stage in check.STAGES for name in stage} - set(MISTAKES) == {"Gymnasium's check_env"}
