"""Steps that are compiled or captured give the numbers of others; a fake stands in for the GPU's capture."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from metarl.agents.maml import MAML
from metarl.agents.rl2 import RL2
from metarl.agents.varibad import VariBAD
from metarl.algorithm.algorithm import Algorithm
from metarl.core.errors import MetaRLError
from metarl.core.normalisation import Standardiser
from metarl.core.random import stream_keys
from metarl.core.trajectory import Trajectory
from metarl.rollout import compiled
from metarl.rollout.compiled import FellBack, Graph, Way, faster, way_to_compile
from metarl.rollout.context import RolloutContext
from metarl.rollout.rollout import rollout

Tensors = dict[str, Tensor]
N = 6


def replayed(function: Callable[[Tensors], Tensors], static: Tensors) -> tuple[Callable[[], None], Tensors]:
    """What a capture does, without a GPU: a replay reads the inputs and writes the outputs where they first were."""
    outputs = {name: value.clone() for name, value in function(static).items()}

    def replay() -> None:
        for name, value in function(static).items():
            outputs[name].copy_(value)

    return replay, outputs


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU takes the way of a GPU."""
    monkeypatch.setattr(Graph, "capture", staticmethod(replayed))
    monkeypatch.setattr(compiled, "_inductor", Graph)


def broken(error: Exception) -> Callable[[Any], Callable[[Tensors], Tensors]]:
    """A compiler whose functions raise."""

    def run(*_: Tensors) -> Tensors:
        raise error

    return lambda *_: run


def agent(name: str) -> Algorithm:
    if name == "maml":
        return MAML("metarl/PointNavigation-v0", replace(MAML.config_class(), tasks=3, episodes=2, hidden=(8,)))
    if name == "varibad":
        return VariBAD("metarl/GridNavi-v0", replace(VariBAD.config_class(), tasks=N, width=8))
    config = replace(RL2.config_class(), tasks=N, width=8, normalise_observations=True)
    return RL2("metarl/CartPole-v0", config, variant="reversed")


def play(
    made: Algorithm, context: RolloutContext | bool | Way, episode: int = 0, horizon: int = 5
) -> tuple[Trajectory, Tensors]:
    vars(made.family)["horizon"] = horizon
    tasks = made.family.tasks.sample(stream_keys(N // made.n_envs, 0, "task")).repeat(made.n_envs)
    batch = made.family.batch(tasks, stream_keys(N, 0, "test"))
    state = made.learner.initial(made.params, N // made.n_envs)
    return rollout(
        made.learner,
        made.params,
        state,
        batch,
        n_envs=made.n_envs,
        episodes=2,
        first_episode=episode,
        context=context if isinstance(context, RolloutContext) else RolloutContext(context),
    )


def same(one: tuple[Trajectory, Tensors], other: tuple[Trajectory, Tensors]) -> None:
    a, b = one[0], other[0]
    for name in ("observation", "action", "reward", "terminated", "truncated", "valid", "final_observation"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), msg=lambda text, n=name: f"{n}: {text}")
    for name in b.record:
        torch.testing.assert_close(a.record[name], b.record[name])
    assert one[1].keys() == other[1].keys()
    for name in other[1]:
        torch.testing.assert_close(one[1][name], other[1][name])


@pytest.mark.usefixtures("graph")
@pytest.mark.parametrize("name", ["maml", "rl2", "varibad"])
def test_a_captured_rollout_is_the_rollout(name: str) -> None:
    made = agent(name)
    context = RolloutContext(True)
    same(play(made, context), play(made, False))
    same(play(made, context, episode=2), play(made, False, episode=2))


def test_a_step_is_one_graph_to_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = torch.compile(backend="eager", fullgraph=True, dynamic=False)  # generates no code, which takes long
    monkeypatch.setattr(compiled, "_inductor", trace)
    made = agent("rl2")
    same(play(made, True), play(made, False))


@pytest.mark.usefixtures("graph")
def test_new_parameters_and_new_statistics_reach_a_captured_step(monkeypatch: pytest.MonkeyPatch) -> None:
    captures: list[Tensors] = []
    capture = Graph.capture
    monkeypatch.setattr(Graph, "capture", staticmethod(lambda f, static: captures.append(static) or capture(f, static)))
    made, context = agent("rl2"), RolloutContext(True)
    before = play(made, context)[0]
    data = 3 + 2 * torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    observations = Standardiser("observation", (4,))
    made.params = observations.update(made.params, data, torch.ones(50, dtype=torch.bool))
    made.params["actor.0.weight"].mul_(3)  # in its place
    after = play(made, context)
    same(after, play(made, False))
    assert not torch.allclose(after[0].record["features"], before.record["features"])
    assert observations.init().keys() <= made.params.keys()
    assert len(captures) == 1


@pytest.mark.usefixtures("graph")
def test_episodes_that_end_early_leave_a_memory_as_it_was() -> None:
    made = agent("rl2")
    vars(made.family)["reset"] = lambda task, u: {  # half of the poles nearly fallen
        "motion": torch.tensor([0.0, 0.0, 0.2, 1.0]) * (torch.arange(N) < 3)[:, None] + 0.01 * u,
        "push": torch.zeros(N),
    }
    one, other = play(made, True, horizon=8), play(made, False, horizon=8)
    assert one[0].lengths.min() < one[0].lengths.max() == 8
    same(one, other)


def test_an_agent_keeps_its_compiled_steps_few_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(compiled, "_inductor", lambda function: calls.append(1) or function)
    options = {"tasks": 2, "episodes": 2, "hidden": (8,), "epochs": 1}
    make = partial(MAML, "metarl/PointNavigation-v0", replace(MAML.config_class(), **options))
    make().train_iteration()
    assert not calls
    made = make(compile=True)
    made.train_iteration()
    assert calls == [1]  # made once, for all of its rollouts
    for episodes in range(1, 10):
        context = made.rollouts
        batch = made.family.batch(made.family.splits.test[:episodes], stream_keys(episodes, 0))
        context.compiled_step(made.learner, batch, (episodes, 1), True, "compiled")
    assert len(context._steps) == 8


def test_what_cannot_be_compiled_runs_as_it_is_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_inductor", broken(RuntimeError("no compiler\nand more")))
    made, context = agent("maml"), RolloutContext(True)
    with pytest.warns(FellBack, match=r"could not be compiled and runs as it is \(RuntimeError: no compiler\)") as said:
        one = play(made, context)
    assert len(said) == 1
    same(one, play(made, False))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(play(made, context), one)


def test_running_out_of_memory_is_no_reason_to_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_inductor", broken(torch.OutOfMemoryError("full")))
    with pytest.raises(torch.OutOfMemoryError):
        faster(lambda given: given, "compiled")({})


def test_the_ways_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    assert way_to_compile(True, torch.device("cuda")) == "captured"
    assert way_to_compile(True, torch.device("cpu")) == way_to_compile("compiled", torch.device("cpu")) == "compiled"
    assert way_to_compile("both", torch.device("cuda")) == "both"
    assert way_to_compile(False, torch.device("cuda")) is None
    with pytest.raises(MetaRLError, match="'captured' captures a CUDA graph, and this is cpu; take True or 'compiled'"):
        play(agent("maml"), "captured")
    made: list[str] = []
    monkeypatch.setattr(compiled, "_inductor", lambda function: made.append("compiled") or function)
    monkeypatch.setattr(compiled, "Graph", lambda function: made.append("captured") or function)
    for way, expected in (("compiled", ["compiled"]), ("captured", ["captured"]), ("both", ["compiled", "captured"])):
        made.clear()
        faster(lambda given: given, way)({})
        assert made == expected


@pytest.mark.usefixtures("graph")
def test_what_has_two_names_is_copied_once() -> None:
    def both(given: Tensors) -> Tensors:
        total = given["a"] + 1
        return {"observation": total, "state": total, "other": total * 2}

    graph = Graph(both)
    graph.capture = lambda function, static: (lambda: None, function(static))  # type: ignore[method-assign]
    out = graph({"a": torch.zeros(2)})
    assert out["observation"] is out["state"]
    assert out["other"].tolist() == [2, 2]
    out["state"].add_(1)
    assert graph({"a": torch.zeros(2)})["state"].tolist() == [1, 1]  # copies: nobody writes into the graph's


def test_a_graph_copies_what_has_changed_and_gives_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    captures: list[Tensors] = []

    def capture(function: Any, static: Tensors) -> tuple[Callable[[], None], Tensors]:
        captures.append(static)
        return replayed(function, static)

    monkeypatch.setattr(Graph, "capture", staticmethod(capture))
    graph = Graph(lambda given: {"sum": given["a"] + given["b"], "a": given["a"]})
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0])
    first = graph({"a": a, "b": b})
    second = graph({"a": a + 1, "b": b})
    assert first["sum"].tolist() == [11, 22]  # not written over
    assert (second["sum"].tolist(), second["a"].tolist()) == ([12, 23], [2, 3])
    b.mul_(2)  # the same tensor, other numbers
    assert graph({"a": a, "b": b})["sum"].tolist() == [21, 42]
    assert a.tolist() == [1, 2]  # inputs are only read
    assert len(captures) == 1
    assert graph({"a": a[:1], "b": b[:1]})["sum"].tolist() == [21]  # another shape is another graph
    assert len(captures) == 2


@pytest.mark.parametrize("name", ["maml", "rl2", "varibad"])
def test_a_graph_on_a_gpu_gives_the_numbers_of_the_cpu(name: str, cuda: str) -> None:
    made = agent(name)
    here = play(made, False)
    made.params = {key: value.to(cuda) for key, value in made.params.items()}
    vars(made.family)["batch"] = lambda tasks, keys: type(made.family).batch(made.family, tasks, keys, cuda)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FellBack)
        there, state = play(made, True)
    same((there.to("cpu"), {key: value.cpu() for key, value in state.items()}), here)
