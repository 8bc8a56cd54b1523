"""Training in one, two and four processes: the same parameters bit for bit, for every agent that may have several."""

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed

from metarl.agents.baselines.finetune import FineTune, FineTuneConfig
from metarl.agents.maml import MAML, MAMLConfig
from metarl.agents.pearl import PEARL, PEARLConfig
from metarl.agents.rl2 import RL2, RL2Config
from metarl.agents.varibad import VariBAD, VariBADConfig
from metarl.core.errors import MetaRLError
from metarl.core.parallel import TaskParallel
from metarl.core.types import Params
from metarl.evaluation.agent import held_out
from metarl.evaluation.driver import adaptation_curve
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.data.registry import make_dataset
from metarl.fewshot.learners.registry import preset_config
from metarl.fewshot.model import FewShot

POINT, GRID = "metarl/PointNavigation-v0", "metarl/GridNavi-v0"
N = 9  # tasks: blocks of one and of two
MAML_SIZES: dict[str, Any] = {"tasks": N, "episodes": 2, "hidden": (4,), "inner_steps": 1}
RL2_SIZES: dict[str, Any] = {"tasks": N, "width": 4, "embedding": 4, "head": (4,), "epochs": 1, "minibatches": 2}
PEARL_SIZES: dict[str, Any] = {"train_tasks": N, "tasks": N, "meta_batch": N, "updates": 2, "batch": 4, "latent": 2}
PEARL_SIZES |= {"encoder": (4,), "hidden": (4,), "posterior_episodes": 1}
VALUE: dict[str, Any] = {"value_network": True, "tune_alpha": True, "context": "transitions", "context_size": 8}
AGENTS: dict[str, Callable[[], Any]] = {
    "maml-ppo": lambda: MAML(POINT, MAMLConfig(**MAML_SIZES, inner_kl=5e-4, chunk=1), variant="pearl"),
    "maml-trpo": lambda: MAML(
        POINT,
        MAMLConfig(**MAML_SIZES, outer="trpo", outer_steps="last", cg_iterations=2, curvature_fraction=0.5),
        variant="pearl",
    ),
    "maml-shared": lambda: MAML(GRID, MAMLConfig(**MAML_SIZES, baseline="shared", entropy_coef=0.1)),
    "finetune": lambda: FineTune(POINT, FineTuneConfig(**{**MAML_SIZES, "inner_steps": 0}), variant="pearl"),
    "rl2": lambda: RL2(GRID, RL2Config(**RL2_SIZES)),
    "varibad": lambda: VariBAD(GRID, VariBADConfig(**RL2_SIZES, vae_tasks=N, vae_updates=1, state_coef=0.1)),
    "pearl": lambda: PEARL(POINT, PEARLConfig(**PEARL_SIZES), variant="pearl"),
    "pearl-value": lambda: PEARL(POINT, PEARLConfig(**PEARL_SIZES, **VALUE), variant="pearl"),
    "pearl-choices": lambda: PEARL(GRID, PEARLConfig(**PEARL_SIZES)),
}
LEARNERS = ("maml", "prototypical", "mann", "reptile")


def parallel(blocks: int, rank: int = 0, world: int = 1, *, ordered: bool = True) -> TaskParallel:
    return TaskParallel(blocks, rank, world, ordered=ordered)


def trained(name: str, shared: TaskParallel, iterations: int) -> Params:
    """Parameters after some iterations, with what training remembers beside them."""
    if name in AGENTS:
        agent = AGENTS[name]()
        agent.parallel = shared
        for _ in range(iterations):
            agent.train_iteration()
            agent.iteration += 1
        return {**agent.params, **{f"training.{key}": value for key, value in agent.training_state().items()}}
    data = make_dataset("strokes")
    config = replace(preset_config(name), width=2, tasks=N, strided=True, episode=EpisodeSpec(2, 1, 1))
    model = FewShot(name, data, config)
    model.parallel = shared
    return model.fit(data, iterations=iterations).params


def process(job: Callable[[TaskParallel], Any], file: Path, rank: int, world: int, ordered: bool, answers: Any) -> None:
    """One of several processes that do a job together, and put what it gives among the answers."""
    torch.set_num_threads(1)  # the threads of the process that was forked are not here
    distributed.init_process_group(
        store=distributed.FileStore(str(file), world),
        backend="gloo",
        rank=rank,
        world_size=world,
        timeout=timedelta(minutes=10),
    )
    try:
        found: Any = job(parallel(8, rank, world, ordered=ordered))
        if isinstance(found, dict):  # no tensors, whose memory would have to outlive the process
            found = {name: value.detach().numpy().tobytes() for name, value in found.items()}
    except Exception as error:  # else the test would wait for an answer
        found = repr(error)
    answers.put((rank, found))
    distributed.destroy_process_group()


@pytest.fixture
def together(tmp_path: Path) -> Callable[..., list[Any]]:
    """``together(job, world)``: what each of so many processes gives for a job."""

    def run(job: Callable[[TaskParallel], Any], world: int, *, ordered: bool = True) -> list[Any]:
        fork = multiprocessing.get_context("fork")  # nothing is imported again
        answers = fork.SimpleQueue()
        given = (job, tmp_path / f"{world}-{ordered}")
        started = [fork.Process(target=process, args=(*given, rank, world, ordered, answers)) for rank in range(world)]
        for each in started:
            each.start()
        found = dict(answers.get() for _ in started)
        for each in started:
            each.join()
        return [found[rank] for rank in range(world)]

    return run


def as_bytes(params: Params) -> dict[str, bytes]:
    return {name: value.detach().numpy().tobytes() for name, value in params.items()}


def distance(mine: Tensor, other: bytes) -> float:
    """The most that a number of a tensor is away from that of another, given by its bytes."""
    if not mine.numel():
        return 0.0
    theirs = torch.frombuffer(bytearray(other), dtype=mine.dtype).view_as(mine)
    return float((mine.detach() - theirs).abs().max())


@pytest.mark.parametrize("name", [*AGENTS, *LEARNERS])
def test_one_two_and_four_processes_give_the_same_parameters(name: str, together: Callable[..., list[Any]]) -> None:
    def job(shared: TaskParallel) -> Params:
        return trained(name, shared, 2)

    alone = as_bytes(job(parallel(8)))
    for world in (2, 4):
        for found in together(job, world):
            assert found == alone


@pytest.mark.slow
@pytest.mark.parametrize("name", [*AGENTS, *LEARNERS])
def test_they_are_the_same_after_many_iterations(
    name: str, together: Callable[..., list[Any]], record_property: Callable[[str, object], None]
) -> None:
    """Sums among processes are further apart by then, which is recorded: ``--junit-xml FILE`` writes it."""
    alone = trained(name, parallel(8), 20)
    for world in (2, 4):
        for found in together(lambda shared: trained(name, shared, 20), world):
            assert found == as_bytes(alone)
    for iterations in (1, 20):
        known = alone if iterations == 20 else trained(name, parallel(8), iterations)
        found = together(lambda shared, n=iterations: trained(name, shared, n), 2, ordered=False)[0]
        apart = [distance(value, found[key]) for key, value in known.items() if value.is_floating_point()]
        record_property(f"distance {iterations}", max(apart))


@pytest.mark.parametrize("name", ["maml-trpo", "rl2", "pearl", "prototypical"])
def test_sums_among_processes_round_otherwise(name: str, together: Callable[..., list[Any]]) -> None:
    def job(shared: TaskParallel) -> Params:
        return {key: x for key, x in trained(name, shared, 1).items() if not key.startswith("training.")}

    alone, (one, other) = job(parallel(8)), together(job, 2, ordered=False)
    assert one == other
    for key, value in alone.items():
        assert distance(value, one[key]) <= 1e-6, key


def test_scores_and_all_that_is_kept_of_them_are_the_same(together: Callable[..., list[Any]]) -> None:
    agent = AGENTS["rl2"]()
    tasks = held_out(agent.family, "test", 7)

    def job(shared: TaskParallel) -> dict[str, Tensor]:
        made_of = (agent.learner, agent.params, agent.family, tasks)
        curve = adaptation_curve(*made_of, points=2, chunk=2, parallel=shared)
        assert curve.deterministic is not None
        assert curve.beliefs is not None
        arrays = {"returns": curve.returns, "deterministic": curve.deterministic, "beliefs": curve.beliefs}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return {**tensors, **curve.states[1], "reward": curve.trajectories[1].reward}

    alone = job(parallel(1))
    assert len(alone["reward"]) == len(tasks)
    assert together(job, 3) == [as_bytes(alone)] * 3


def test_blocks_are_even_and_each_is_one_processs() -> None:
    assert [(rows.start, rows.stop) for rows in parallel(4).all_rows(10)] == [(0, 2), (2, 5), (5, 7), (7, 10)]
    for world in (1, 2, 3, 4):
        shares = [parallel(4, rank, world).rows(10) for rank in range(world)]
        assert [rows for share in shares for rows in share] == parallel(4).all_rows(10)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert len(parallel(8).all_rows(3)) == 3
    assert parallel(8, 0, 4).rows(2) == []  # of a minibatch that is smaller than the number of processes


def test_what_is_put_together_is_in_block_order(together: Callable[..., list[Any]]) -> None:
    def job(shared: TaskParallel) -> dict[str, Tensor]:
        rows = shared.rows(9)
        joined = shared.rejoin([{"row": torch.arange(each.start, each.stop)} for each in rows])
        parts = [
            {"a": torch.tensor(float(each.start)), **({"b": torch.ones(2)} if each.start == 0 else {})} for each in rows
        ]
        like = {"b": torch.zeros(2), "a": torch.zeros(()), "c": torch.zeros(3)}
        total = shared.total(parts, like)
        return {**joined, **total, "most": torch.tensor(shared.most(7 * shared.rank)), "n": torch.tensor(len(total))}

    for ordered in (True, False):
        for world in (2, 3):
            first = together(job, world, ordered=ordered)[0]
            wanted = {"row": torch.arange(9), "a": torch.tensor(28.0), "b": torch.ones(2)}
            assert first == as_bytes({**wanted, "most": torch.tensor(7 * (world - 1)), "n": torch.tensor(2)})


def test_processes_that_do_not_agree_say_so(together: Callable[..., list[Any]]) -> None:
    def job(shared: TaskParallel) -> str:
        with pytest.raises(MetaRLError) as raised:
            shared.agree(f"iteration {shared.rank}", "begun at")
        return str(raised.value)

    assert together(job, 2) == ["Process 1 has begun at iteration 1, and process 0 iteration 0; give all the same."] * 2


def test_a_process_without_tasks_is_refused() -> None:
    with pytest.raises(MetaRLError, match="4 processes have 3 tasks in 3 blocks to share"):
        parallel(8, 0, 4).check(3)
    with pytest.raises(MetaRLError, match="4 processes have 20 tasks in 2 blocks"):
        parallel(2, 0, 4).check(20)
    with pytest.raises(MetaRLError, match="--blocks 0"):
        parallel(0)
