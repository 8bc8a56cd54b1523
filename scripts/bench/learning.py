"""MAML-RL's rollouts and TRPO step against plain formulations, and training runs side by side."""

import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from bench.measure import Options, Row, in_turn
from metarl.agents.maml import MAML
from metarl.agents.maml.config import PRESETS
from metarl.agents.maml.outer import MetaBatch, adapted_outputs, collect, kl
from metarl.agents.maml.trpo import TRPO, Vector, conjugate_gradient, surrogate
from metarl.core.networks import MLP
from metarl.core.random import Domain, stream_keys, to_normal, uniforms
from metarl.core.types import Outputs, Params
from metarl.family import make_family
from metarl.family.base import TaskFamily
from metarl.rollout.rollout import rollout

FAMILY = "metarl/PointNavigation-v0"


def bench_rollout(options: Options) -> list[Row]:
    """Measure a rollout of 40 tasks × 20 envs with a policy of 100 × 100 for each task against a bare loop."""
    family, n_tasks, n_envs = make_family(FAMILY), 40, 20
    config = replace(PRESETS["default"], hidden=(100, 100))
    agent = MAML(family, config, device=options.device)
    tasks = family.splits.train(stream_keys(n_tasks, 0, "benchmark")).repeat(n_envs)
    keys = stream_keys(n_tasks * n_envs, 0, "benchmark")
    batch = family.batch(tasks, keys, options.device)
    state = {name: value.contiguous() for name, value in agent.learner.initial(agent.params, n_tasks).items()}
    goal = tasks.tensors(options.device)["goal"]

    def ours() -> None:
        rollout(agent.learner, agent.params, state, batch, n_envs=n_envs)

    def bare() -> None:
        _bare_rollout(family, agent.learner.network, state, goal, batch.keys, (n_tasks, n_envs))

    mine, theirs = in_turn(4 * options.repeats, ours, bare)
    speed = n_tasks * n_envs * family.horizon / mine / 1e6
    return [Row("rollout, 40 × 20 environments", mine, theirs, "bare loop", 0.85, f"{speed:.2f} million steps/s")]


@torch.no_grad()
def _bare_rollout(
    family: TaskFamily, network: MLP, state: dict[str, Tensor], goal: Tensor, keys: Tensor, rows: tuple[int, int]
) -> dict[str, Tensor]:
    """Run policy, point navigation and record in one loop, without a layer between them."""
    n = rows[0] * rows[1]
    noise = to_normal(uniforms(keys, Domain.ACTION, 0, family.horizon, 2)).transpose(0, 1).contiguous()
    log_std = state["policy.log_std"][:, None]
    position = torch.zeros(n, 2, device=keys.device)
    ended = torch.zeros(n, dtype=torch.bool, device=keys.device)
    columns: list[tuple[Tensor, ...]] = []
    for step in range(family.horizon):
        observation = position.reshape(*rows, 2)
        mean = network(state, observation, "policy.")
        action = torch.addcmul(mean, log_std.expand_as(mean).exp(), noise[step].reshape(*rows, 2))
        z = (action - mean) * torch.exp(-log_std)
        log_prob = (-0.5 * z * z - log_std).sum(-1) - 1.8378770664093453
        position = position + (action.clamp(-1, 1) * 0.1).flatten(0, 1)
        offset = position - goal
        terminated = (offset.abs() < 0.01).all(-1)
        reward = -torch.linalg.vector_norm(offset, dim=-1)
        columns.append((observation, action, log_prob, reward, terminated))
        ended = ended | terminated
        if step % 8 == 7 and bool(ended.all()):
            break
    observation, action, log_prob, reward, terminated = (
        torch.stack(column, dim=column[0].ndim - 1 if column[0].ndim > 2 else column[0].ndim)
        for column in zip(*columns, strict=True)
    )
    over = terminated.cummax(-1).values
    valid = ~torch.cat([torch.zeros_like(over[:, :1]), over[:, :-1]], -1).unflatten(0, rows)
    reward = reward.unflatten(0, rows)
    return {
        "observation": observation.masked_fill(~valid[..., None], 0),
        "action": action.masked_fill(~valid[..., None], 0),
        "log_prob": log_prob.masked_fill(~valid, 0),
        "reward": reward.masked_fill(~valid, 0),
        "finite": torch.isfinite(reward).all(),
    }


def bench_trpo(options: Options) -> list[Row]:
    """Measure a meta-iteration of MAML-TRPO: 20 tasks × 20 episodes × 100 steps, before and after adaptation."""
    family, config = make_family(FAMILY), PRESETS["trpo"]
    agents = {
        share: MAML(family, replace(config, curvature_fraction=share), device=options.device) for share in (1.0, 0.25)
    }
    plain = MAML(family, config, device=options.device)

    def iteration(agent: MAML, update: Callable[[MetaBatch], object]) -> Callable[[], None]:
        def run() -> None:
            tasks = family.splits.train(stream_keys(config.tasks, 0, "benchmark")).repeat(config.episodes)
            batch = family.batch(tasks, stream_keys(len(tasks), 0, "benchmark"), options.device)
            update(collect(agent.learner, agent.params, batch))

        return run

    # From the same parameters every time, so that every repeat does the same work.
    exact, sub, slow = in_turn(
        options.repeats,
        iteration(agents[1.0], lambda data: TRPO(agents[1.0].learner, agents[1.0].params).update(data, 0.0)),
        iteration(agents[0.25], lambda data: TRPO(agents[0.25].learner, agents[0.25].params).update(data, 0.0)),
        iteration(plain, lambda data: PlainTRPO(plain, data).update()),
    )
    name, other = "MAML-TRPO iteration", "plain formulation"
    return [
        Row(f"{name}, exact", exact, slow, other, 1.5),
        Row(f"{name}, a quarter of the states", sub, slow, other, 3.0),
    ]


class PlainTRPO:
    """TRPO's step in its plain form: products with the KL's Hessian by differentiating twice through everything."""

    def __init__(self, agent: MAML, data: MetaBatch) -> None:
        self.agent, self.data, self.config = agent, data, agent.config
        self.leaves = {name: value.clone().requires_grad_() for name, value in agent.params.items()}
        outputs = adapted_outputs(agent.learner, self.leaves, data)[-1]
        self.old = agent.learner.distribution(outputs).detach()
        self.outputs: Outputs = outputs

    def update(self) -> Params:
        """Return the parameters after the step."""
        query, leaves = self.data.trajectories[-1], list(self.leaves.values())
        distribution = self.agent.learner.distribution(self.outputs)
        before = surrogate(distribution, query).mean()
        gradient: Vector = list(torch.autograd.grad(before, leaves, retain_graph=True))
        slope = torch.autograd.grad(kl(self.old, distribution, query).mean(), leaves, create_graph=True)

        def product(v: Vector) -> Vector:
            projected = torch.stack([(s * x).sum() for s, x in zip(slope, v, strict=True)]).sum()
            hessian = torch.autograd.grad(projected, leaves, retain_graph=True)
            return [h + self.config.cg_damping * x for h, x in zip(hessian, v, strict=True)]

        direction, quadratic = conjugate_gradient(product, gradient, self.config.cg_iterations)
        length = (2 * self.config.max_kl / quadratic).sqrt()
        for tried in range(self.config.line_search):
            scale = float(length) * self.config.backtrack**tried
            steps = zip(self.leaves.items(), direction, strict=True)
            new = {name: value.detach() - scale * d for (name, value), d in steps}
            with torch.no_grad():
                moved = self.agent.learner.distribution(adapted_outputs(self.agent.learner, new, self.data)[-1])
                better = surrogate(moved, query).mean() < before
                if better and kl(self.old, moved, query).mean() <= self.config.max_kl:
                    return new
        return self.agent.params


def bench_threads(options: Options) -> list[Row]:
    """Measure two training runs side by side, with the default of one thread each, against one alone."""
    repeats = max(1, options.repeats // 2)
    alone = statistics.median(max(_train_processes(1)) for _ in range(repeats))
    beside = statistics.median(max(_train_processes(2)) for _ in range(repeats))
    return [Row("each of two training runs side by side", beside, alone, "one run alone", 0.4, "one thread a process")]


def _train_processes(n: int) -> list[float]:
    code = (
        "import time; from metarl.core.process import prepare_process; prepare_process(1); "
        "from metarl.agents.maml import MAML; "
        f"agent = MAML({FAMILY!r}); agent.learn(150_000); started = time.perf_counter(); "
        "agent.learn(600_000, reset_num_timesteps=False); print(time.perf_counter() - started)"
    )
    command = [sys.executable, "-c", code]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(n)]
    return [float(process.communicate()[0]) for process in started]
