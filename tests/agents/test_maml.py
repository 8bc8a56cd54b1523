"""MAML's adaptation and meta-gradient against a naive loop over tasks, episodes and steps; its configuration."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, Normal, kl_divergence

from metarl.agents.maml import MAML
from metarl.agents.maml.config import PRESETS, MAMLConfig
from metarl.agents.maml.learner import LOG_STD, SHIFT, MAMLLearner
from metarl.agents.maml.outer import MetaBatch, adapted_outputs, collect
from metarl.agents.maml.ppo import PPO
from metarl.core.errors import MetaRLError
from metarl.core.random import stream_keys
from metarl.core.trajectory import Trajectory
from metarl.core.types import Params

Mixed = Callable[[Tensor, Tensor, Tensor], Distribution]
Setup = Callable[..., tuple[MAMLLearner, Params, MetaBatch]]
SMALL = MAMLConfig(tasks=3, episodes=2, hidden=(4,), epochs=1, learning_rate=0.01)
FIXED = {"learn_step_sizes": False, "learn_std_shift": False}
PROMP = {"inner_kl": 0.3, "epochs": 2, "outer_steps": "last", **FIXED}


class Naive:
    """MAML as the papers write it: one task after the other, one step after the other, on torch.autograd."""

    def __init__(self, config: MAMLConfig, actions: str, mixed: Mixed) -> None:
        self.config, self.actions, self.mixed = config, actions, mixed

    def distribution(self, theta: Params, observation: Tensor) -> Distribution:
        hidden = torch.tanh(theta["policy.0.weight"] @ observation + theta["policy.0.bias"])
        out = theta["policy.1.weight"] @ hidden + theta["policy.1.bias"]
        if self.actions == "categorical":
            return Categorical(logits=out)
        if self.actions == "mixed":
            return self.mixed(out[:-1], out[-1], theta[LOG_STD].exp()[0])
        return Independent(Normal(out, theta[LOG_STD].exp()), 1)

    def steps(self, theta: Params, data: Trajectory, task: int) -> list[list[tuple[Tensor, Tensor, Tensor, Any]]]:
        """For each episode of the task, its steps: log-probability, recorded one, advantage, distribution."""
        episodes = []
        for env in range(data.n_envs):
            for episode in range(data.n_episodes):
                at: Any = (task, env, episode)
                rows = []
                for step in range(int(data.valid[at].sum())):
                    distribution = self.distribution(theta, data.observation[at][step])
                    recorded = data.record["log_prob"][at][step], data.record["advantage"][at][step]
                    rows.append((distribution.log_prob(data.action[at][step]), *recorded, distribution))
                episodes.append(rows)
        return episodes

    def inner_loss(self, theta: Params, data: Trajectory, task: int) -> Tensor:
        total, count = torch.zeros(()), 0
        for rows in self.steps(theta, data, task):
            so_far = torch.zeros(())
            for log_prob, old, advantage, _ in rows:
                if self.config.inner == "lvc":
                    total = total + torch.exp(log_prob - old) * advantage
                elif self.config.inner == "dice":
                    before, so_far = so_far, so_far + log_prob
                    box, box_before = (torch.exp(each - each.detach()) for each in (so_far, before))
                    total = total + (box - box_before) * advantage
                else:
                    total = total + log_prob * advantage
                count += 1
        return -total / count

    def adapt(self, params: Params, theta: Params, data: Trajectory, task: int, count: int) -> Params:
        names = list(theta)
        loss = self.inner_loss(theta, data, task)
        gradients = torch.autograd.grad(loss, [theta[name] for name in names], create_graph=True)
        last = max(self.config.inner_steps, 1) - 1
        new = {}
        for name, gradient in zip(names, gradients, strict=True):
            sizes = params.get(f"step_size.{name}")
            size = self.config.inner_lr if sizes is None else sizes[min(count, last)]
            halved = 0.5 ** max(count - last, 0)
            new[name] = theta[name] - halved * size * (gradient.detach() if self.config.first_order else gradient)
        if SHIFT in params and count <= last:
            new[LOG_STD] = new[LOG_STD] + params[SHIFT][count]
        return new

    @staticmethod
    def leaves(params: Params) -> Params:
        return {name: value.clone().requires_grad_() for name, value in params.items()}

    def chain(self, params: Params, data: MetaBatch, task: int) -> list[Params]:
        """The task's parameters before any adaptation, after one, ..."""
        thetas = [{name: value for name, value in params.items() if name.startswith("policy.")}]
        for count, trajectory in enumerate(data.trajectories[:-1]):
            thetas.append(self.adapt(params, thetas[-1], trajectory, task, count))
        return thetas

    def objective(self, params: Params, old: Params, data: MetaBatch) -> Tensor:
        last = len(data.trajectories) - 1
        total = torch.zeros(())
        for task in range(data.n_tasks):
            thetas, olds = self.chain(params, data, task), self.chain(old, data, task)
            for k in range(1, last + 1) if self.config.outer_steps == "each" else [last]:
                rows = [row for rows in self.steps(thetas[k], data.trajectories[k], task) for row in rows]
                clipped = [self.clipped(torch.exp(new - recorded), a) for new, recorded, a, _ in rows]
                total = total - torch.stack(clipped).mean()
                if self.config.entropy_coef:
                    total = total - self.config.entropy_coef * torch.stack([row[3].entropy() for row in rows]).mean()
            for k in range(last):
                new_rows, old_rows = (
                    [row[3] for rows in self.steps(each[k], data.trajectories[k], task) for row in rows]
                    for each in (thetas, olds)
                )
                apart = [kl_divergence(b, a) for a, b in zip(new_rows, old_rows, strict=True)]
                total = total + self.config.inner_kl * torch.stack(apart).mean()
        return total / data.n_tasks

    def clipped(self, ratio: Tensor, advantage: Tensor) -> Tensor:
        low, high = 1 - self.config.clip, 1 + self.config.clip
        return torch.minimum(ratio * advantage, ratio.clamp(low, high) * advantage)

    def update(self, params: Params, data: MetaBatch) -> Params:
        """The epochs of Adam."""
        old, leaves = self.leaves(params), self.leaves(params)
        adam = torch.optim.Adam(leaves.values(), lr=self.config.learning_rate)
        for _ in range(self.config.epochs):
            adam.zero_grad()
            self.objective(leaves, old, data).backward()
            adam.step()
        return leaves


CASES = {
    **{
        f"{inner} {steps} {'first' if first else 'second'} order": (
            {"inner": inner, "inner_steps": steps, "first_order": first, **({} if steps == 3 else FIXED)},
            "gaussian",
        )
        for inner in ("lvc", "dice", "loglik")
        for steps in (1, 3)
        for first in (False, True)
    },
    "categorical lvc 1": ({"inner_steps": 1, "inner": "lvc"}, "categorical"),
    "categorical dice 2": ({"inner_steps": 2, "inner": "dice"}, "categorical"),
    "categorical fixed": ({"inner_steps": 1, "inner": "loglik", "outer_steps": "last", **FIXED}, "categorical"),
    "entropy": ({"inner_steps": 2, "entropy_coef": 0.3}, "gaussian"),
    "entropy categorical": ({"inner_steps": 1, "entropy_coef": 0.3}, "categorical"),
    "promp": ({"inner_steps": 2, **PROMP}, "gaussian"),
    "mixed lvc 2": ({"inner_steps": 2, "inner": "lvc"}, "mixed"),
    "promp categorical": ({"inner_steps": 1, **PROMP}, "categorical"),
    "promp mixed": ({"inner_steps": 2, **PROMP}, "mixed"),
    "promp mixed in chunks": ({"inner_steps": 1, "chunk": 2, **PROMP}, "mixed"),
}


@pytest.mark.parametrize(("changes", "actions"), CASES.values(), ids=CASES)
def test_adaptation_and_meta_gradient_equal_a_naive_loop(
    setup: Setup, mixed: Mixed, changes: dict[str, Any], actions: str
) -> None:
    config = replace(SMALL, **changes)
    learner, params, data = setup(config, actions)
    naive = Naive(config, actions, mixed)

    state = learner.initial(params, data.n_tasks)
    for trajectory in data.trajectories[:-1]:
        state = learner.adapt(params, state, trajectory)
    for task in range(data.n_tasks):
        for name, value in naive.chain(naive.leaves(params), data, task)[-1].items():
            torch.testing.assert_close(state[name][task], value.detach(), msg=name, rtol=1e-10, atol=1e-12)

    outer = PPO(learner, params)
    updated, _ = outer.update(data, progress=0.0)
    for name, value in naive.update(params, data).items():
        found = outer.adam.params[name].grad
        assert value.grad is not None, name
        assert found is not None, name
        torch.testing.assert_close(found, value.grad, msg=f"gradient of {name}", rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(updated[name], value.detach(), msg=name, rtol=0, atol=1e-6)


def test_chunks_of_tasks_give_the_same_gradient(setup: Setup) -> None:
    config = replace(SMALL, tasks=5, inner_kl=0.1, epochs=2)
    learner, params, data = setup(config)
    whole, logged = PPO(learner, params).update(data, 0.5)
    learner.config = replace(config, chunk=2)
    chunked, logged_chunked = PPO(learner, params).update(data, 0.5)
    for name, value in whole.items():
        torch.testing.assert_close(chunked[name], value, msg=name, rtol=1e-9, atol=1e-11)
    assert logged_chunked == pytest.approx(logged)


def test_a_larger_penalty_keeps_the_policies_closer(setup: Setup) -> None:
    def moved(inner_kl: float) -> float:
        learner, params, data = setup(replace(SMALL, inner_kl=inner_kl, epochs=10, learning_rate=3e-3))
        updated, _ = PPO(learner, params).update(data, 0.0)
        first = data.trajectories[0]
        before, after = (
            learner.distribution(learner.replay(each, learner.initial(each, data.n_tasks), first)[0])
            for each in (params, updated)
        )
        return float(before.kl_to(after)[first.valid].mean())

    assert 0 < moved(30.0) < 0.5 * moved(0.0)


def test_the_learning_rate_falls_linearly_to_its_fraction(setup: Setup) -> None:
    learner, params, data = setup(SMALL)
    for progress, rate in ((0.0, 0.01), (0.5, 0.01 * 0.525), (1.0, 0.01 * 0.05)):
        outer = PPO(learner, params)
        outer.update(data, progress)
        assert outer.adam.learning_rate == pytest.approx(rate)


def test_an_optimiser_goes_on_from_its_state(setup: Setup) -> None:
    learner, params, data = setup(SMALL)
    outer = PPO(learner, params)
    params, _ = outer.update(data, 0.0)
    again = PPO(learner, params)
    again.load_state_dict({name: value.clone() for name, value in outer.state_dict().items()})
    assert len(outer.state_dict()) == 3 * len(params)
    wanted, found, without = (each.update(data, 0.1)[0] for each in (outer, again, PPO(learner, params)))
    assert all(torch.equal(found[name], wanted[name]) for name in params)
    assert not any(torch.equal(without[name], wanted[name]) for name in params)


def test_after_the_steps_of_training_the_last_size_is_halved_at_each(setup: Setup, mixed: Mixed) -> None:
    config = replace(SMALL, inner_steps=2)
    learner, params, data = setup(config)
    naive, support = Naive(config, "gaussian", mixed), data.trajectories[0]
    leaves = naive.leaves(params)
    state, theta = learner.initial(params, data.n_tasks), naive.chain(leaves, data, 1)[0]
    for count in range(4):
        state = learner.adapt(params, state, support)
        theta = naive.adapt(leaves, theta, support, 1, count)
        for name, value in theta.items():
            torch.testing.assert_close(state[name][1], value.detach(), msg=f"{name} {count}", rtol=1e-10, atol=1e-12)


def test_without_adapted_std_only_the_shift_moves_it(setup: Setup) -> None:
    learner, params, data = setup(replace(SMALL, adapted_std=False, inner_steps=1))
    state = learner.adapt(params, learner.initial(params, data.n_tasks), data.trajectories[0])
    wanted = (params[LOG_STD] + params[SHIFT][0]).expand(data.n_tasks, -1)
    torch.testing.assert_close(state[LOG_STD], wanted)
    fixed, params, data = setup(replace(SMALL, inner_steps=1, **FIXED))
    assert SHIFT not in params
    assert not any(name.startswith("step_size.") for name in params)
    state = fixed.adapt(params, fixed.initial(params, data.n_tasks), data.trajectories[0])
    assert not torch.equal(state[LOG_STD], params[LOG_STD].expand(data.n_tasks, -1))


@pytest.mark.parametrize("family", ["metarl/PointNavigation-v0", "metarl/GridNavi-v0", "metarl/BernoulliBandit-v0"])
def test_replayed_adaptation_is_the_one_that_was_collected_with(family: str) -> None:
    agent = MAML(family, replace(SMALL, episodes=3))
    tasks = agent.family.splits.train(stream_keys(3, "tasks")).repeat(3)
    data = collect(agent.learner, agent.params, agent.family.batch(tasks, stream_keys(9, "n_envs")))
    assert len(data.trajectories) == 4
    outputs = adapted_outputs(agent.learner, agent.params, data)
    for k, trajectory in enumerate(data.trajectories):
        log_prob = agent.learner.distribution(outputs[k]).log_prob(trajectory.action)
        torch.testing.assert_close(log_prob[trajectory.valid], trajectory.record["log_prob"][trajectory.valid])
        advantage = trajectory.record["advantage"]
        assert not advantage[~trajectory.valid].any()
        for task in range(3):
            known = advantage[task][trajectory.valid[task]]
            assert float(known.mean()) == pytest.approx(0, abs=1e-5)
            # Where every pull of a bandit paid the same, there is nothing to tell apart.
            assert float(known.std(correction=0)) == pytest.approx(1, abs=1e-3) or not known.any()
    # Every step of the adaptation met new random numbers.
    firsts = [trajectory.action[:, :, 0, 0] for trajectory in data.trajectories]
    assert not agent.learner.actions.axes or not any(torch.equal(firsts[0], other) for other in firsts[1:])


def test_a_learner_reports_its_standard_deviations() -> None:
    agent = MAML("metarl/PointNavigation-v0", SMALL)
    states = [agent.learner.initial(agent.params, 2)]
    assert agent.describe(states) == {"sd step 0": pytest.approx(SMALL.initial_std)}
    assert MAML("metarl/GridNavi-v0", SMALL).describe(states) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"tasks": 0},
        {"episodes": 0},
        {"inner_steps": -1},
        {"gamma": 1.5},
        {"gae_lambda": -0.1},
        {"inner_lr": 0.0},
        {"initial_std": 0.0},
        {"epochs": 0},
        {"clip": 0.0},
        {"total_timesteps": 0},
    ],
    ids=str,
)
def test_a_config_out_of_range_names_the_field(wrong: dict[str, Any]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(MetaRLError, match=rf"{name}={value}.*out of range"):
        MAMLConfig(**wrong)


def test_trpo_has_no_bonus_for_entropy() -> None:
    with pytest.raises(MetaRLError, match=r"entropy_coef=0.1\): that is PPO's; set it to 0"):
        MAMLConfig(outer="trpo", outer_steps="last", entropy_coef=0.1)


def test_trpo_bounds_one_adaptation() -> None:
    with pytest.raises(MetaRLError, match="outer_steps='last'"):
        MAMLConfig(outer="trpo")


def test_dice_needs_every_step() -> None:
    with pytest.raises(MetaRLError, match="set inner='lvc' or 'loglik'"):
        MAMLConfig(inner="dice", curvature_fraction=0.5)


def test_every_preset_has_its_label_whatever_its_budget() -> None:
    labels = {name: MAML.label(replace(config, total_timesteps=1)) for name, config in PRESETS.items()}
    assert labels.pop("default") == "maml"
    assert labels == {name: f"maml-{name}" for name in labels}
    assert MAML.label(SMALL) == "maml-custom"
