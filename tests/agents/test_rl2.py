"""RL²'s credit and its PPO against naive loops over trials, episodes and steps."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from metarl.adapt.memory.registry import memory_names
from metarl.agents.rl2 import RL2, RL2Config
from metarl.agents.rl2.learner import RL2Learner
from metarl.agents.rl2.ppo import TrialPPO, trial_targets
from metarl.algorithm.registry import agent_class
from metarl.core.errors import MetaRLError
from metarl.core.trajectory import Trajectory
from metarl.core.types import Outputs, Params, Transition
from metarl.envs.engine.torch import TorchFamily

Mixed = Callable[[Tensor, Tensor, Tensor], Distribution]
Families = Callable[[str], TorchFamily]
SMALL = RL2Config(tasks=6, width=6, embedding=5, head=(4,), epochs=2, minibatches=2, learning_rate=0.01)
At = tuple[int, int, int, int]


class Naive:
    """PPO on trials as it is written: one trial after the other, one step after the other."""

    def __init__(self, learner: RL2Learner, data: Trajectory, mixed: Mixed | None = None) -> None:
        self.learner, self.config, self.data, self.mixed = learner, learner.config, data, mixed

    def steps(self, task: int) -> list[At]:
        """Where the trial's steps are, one after the other."""
        lengths = self.data.lengths[task, 0].tolist()
        return [(task, 0, episode, step) for episode, length in enumerate(lengths) for step in range(length)]

    def outputs(self, params: Params, task: int) -> list[Outputs]:
        """What the policy and the value say at each step: the fold of ``observe``."""
        data, said, state = self.data, [], self.learner.initial(params, 1)
        for at in self.steps(task):
            (_, _, episode, step), observation = at, data.observation[at][None, None]
            if step == 0:
                state = self.learner.begin_episode(params, state, torch.zeros(1, 0))
            said.append(self.learner.policy(params, state, observation))
            last = step + 1 == int(data.lengths[task, 0, episode])
            after = data.final_observation[task, 0, episode] if last else data.observation[task, 0, episode, step + 1]
            now = (observation[0, 0], data.action[at], data.reward[at], data.terminated[at], data.truncated[at], after)
            state = self.learner.observe(params, state, Transition(*(x[None, None] for x in now)))
        return said

    def credit(self, gamma: float, lam: float, scale: float = 1.0) -> tuple[dict[At, Tensor], dict[At, Tensor]]:
        """Advantages before they are normalised, and what the values should have been."""
        advantages, targets = {}, {}
        for task in range(self.data.n_tasks):
            after = carry = torch.zeros((), dtype=self.data.reward.dtype)  # the trial's end is worth nothing
            for at in reversed(self.steps(task)):
                value = self.data.record["value"][at]
                carry = scale * self.data.reward[at] + gamma * after - value + gamma * lam * carry
                advantages[at], targets[at], after = carry, value + carry, value
        return advantages, targets

    def scale(self) -> float:
        """One over the deviation of the discounted returns."""
        returns = []
        for task in range(self.data.n_tasks):
            so_far = 0.0
            for at in reversed(self.steps(task)):
                so_far = float(self.data.reward[at]) + self.config.gamma * so_far
                returns.append(so_far)
        return 1 / np.sqrt(np.var(returns) + 1e-8) if self.config.normalise_rewards else 1.0

    def distribution(self, out: Outputs) -> Distribution:
        if "mean" not in out:
            return Categorical(logits=out["logits"][0, 0])
        if "logits" in out and self.mixed is not None:
            mean, log_std = out["mean"][0, 0, 0], out["log_std"][0, 0, 0]
            return self.mixed(out["logits"][0, 0], mean, log_std.exp())
        normal = Normal(out["mean"][0, 0], out["log_std"][0, 0].exp())
        squashed = TransformedDistribution(normal, [TanhTransform()]) if self.config.squash else normal
        return Independent(squashed, 1)

    def update(self, params: Params, progress: float, generator: torch.Generator) -> tuple[Params, dict[str, float]]:
        config = self.config
        rate = config.learning_rate * (1 - (1 - config.final_learning_rate) * progress)
        entropy_coef = config.entropy_coef * (1 - (1 - config.final_entropy) * progress)
        advantages, targets = self.credit(config.gamma, config.gae_lambda, self.scale())
        every = torch.stack(list(advantages.values()))
        advantages = {at: (x - every.mean()) / (every.std(correction=0) + 1e-8) for at, x in advantages.items()}
        leaves = {name: value.clone() for name, value in params.items()}
        own = {name: value.requires_grad_() for name, value in leaves.items() if not name.startswith("moments.")}
        adam = torch.optim.Adam(own.values(), lr=rate)
        logged: dict[str, float] = {}
        for _ in range(config.epochs):
            order = torch.randperm(self.data.n_tasks, generator=generator)
            for rows in np.array_split(order.numpy(), config.minibatches):
                gains, errors, entropies, outside = [], [], [], []
                for task in rows.tolist():
                    for at, out in zip(self.steps(task), self.outputs(leaves, task), strict=True):
                        distribution = self.distribution(out)
                        log_prob = distribution.log_prob(self.data.action[at])
                        ratio = torch.exp(log_prob - self.data.record["log_prob"][at])
                        bounded = ratio.clamp(1 - config.clip, 1 + config.clip)
                        gains.append(torch.minimum(ratio * advantages[at], bounded * advantages[at]))
                        apart = (out["value"][0, 0] - targets[at]).abs()
                        errors.append(torch.where(apart < 1, apart**2 / 2, apart - 0.5))
                        # After tanh there is no closed form.
                        exact = self.learner.distribution(out).entropy() if config.squash else distribution.entropy()
                        entropies.append(exact.reshape(()))
                        outside.append((ratio != bounded).double())
                means = [torch.stack(parts).mean() for parts in (gains, errors, entropies, outside)]
                loss = -means[0] + config.value_coef * means[1] - entropy_coef * means[2]
                adam.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(own.values(), config.max_grad_norm)
                adam.step()
                names = ("policy_loss", "value_loss", "entropy", "clip_fraction")
                logged = dict(zip(names, (float(x.detach()) for x in (-means[0], *means[1:])), strict=True))
        return leaves, logged


def agent_of(family: TorchFamily, config: RL2Config) -> RL2:
    """An agent away from the special values of an initialisation: zero biases and a policy that hardly differs."""
    agent, generator = RL2(family, config), torch.Generator().manual_seed(1)
    agent.params = {
        name: value if name.startswith("moments.") else value + 0.3 * torch.randn(value.shape, generator=generator)
        for name, value in agent.params.items()
    }
    return agent


def in_doubles(trajectory: Trajectory) -> Trajectory:
    def double(value: Tensor) -> Tensor:
        return value.double() if value.is_floating_point() else value

    return replace(trajectory._map(double), final_observation=trajectory.final_observation.double())


def collected(agent: RL2, spread: float = 0.0) -> Trajectory:
    """Trials in float64, with episodes of different length, and what was recorded shifted by up to ``spread``."""
    data = in_doubles(agent.collect())
    assert len(data.lengths.unique()) > 3
    assert data.terminated.any()
    assert data.truncated.any()
    generator = torch.Generator().manual_seed(2)
    shift = spread * torch.randn(data.reward.shape, generator=generator, dtype=torch.float64)
    shifted = {name: value + shift for name, value in data.record.items()}
    return replace(data, record=shifted).filled()


# --- credit ---


def trial(reward: list[list[float]], value: list[list[float]], lengths: list[int]) -> Trajectory:
    """One trial of a thing that stands still, all episodes terminated."""
    rewards = torch.tensor([[reward]], dtype=torch.float64)
    valid = torch.arange(rewards.shape[-1]) < torch.tensor([[lengths]])[..., None]
    terminated = torch.arange(rewards.shape[-1]) == torch.tensor([[lengths]])[..., None] - 1
    return Trajectory(
        observation=torch.zeros(*rewards.shape, 1),
        action=torch.zeros(rewards.shape, dtype=torch.long),
        reward=rewards,
        terminated=terminated,
        truncated=torch.zeros_like(valid),
        valid=valid,
        final_observation=torch.zeros(*rewards.shape[:3], 1),
        episode_noise=torch.zeros(1, len(lengths), 0),
        record={"value": torch.tensor([[value]], dtype=torch.float64)},
    )


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_targets_by_hand(scale: float) -> None:
    # Rewards 1, 0 | 8 and values 1, 2 | 4; γ = λ = .5. The second step is followed by the next episode's first:
    # δ = 1 + .5·2 - 1, 0 + .5·4 - 2, 8 - 4 = 1, 0, 4, and A = 1 + .25·1, 0 + .25·4, 4 = 1.25, 1, 4.
    one = trial([[1 / scale, 0, 99], [8 / scale, 99, 99]], [[1, 2, 77], [4, 77, 77]], [2, 1])
    targets = trial_targets(one, 0.5, 0.5, scale)
    assert targets.value[one.valid].tolist() == [2.25, 3, 8]
    advantage = np.array([1.25, 1, 4])
    np.testing.assert_allclose(targets.advantage[one.valid], (advantage - advantage.mean()) / advantage.std())
    assert not targets.advantage[~one.valid].any()


def test_targets_of_ragged_trials_equal_a_loop_and_are_not_cut(ragged: Families) -> None:
    """Pitfall 2."""
    agent = agent_of(ragged("categorical"), SMALL)
    data = collected(agent)
    targets = trial_targets(data, 0.9, 0.8, 0.7)
    naive = Naive(agent.learner, data)
    advantages, values = naive.credit(0.9, 0.8, 0.7)
    every = torch.stack(list(advantages.values()))
    for at, value in values.items():
        torch.testing.assert_close(targets.value[at], value)
        torch.testing.assert_close(targets.advantage[at], (advantages[at] - every.mean()) / every.std(correction=0))
    assert len(values) == int(data.valid.sum())
    # Cut into its episodes, credit is another in all but the last.
    for episode in range(data.n_episodes):
        part = data._map(lambda value, e=episode: value[:, :, e : e + 1])
        alone = trial_targets(part, 0.9, 0.8, 0.7).value[part.valid]
        inside = targets.value[:, :, episode : episode + 1][part.valid]
        assert torch.allclose(alone, inside) == (episode == data.n_episodes - 1)


# --- the update ---


CASES = {
    "categorical": ("categorical", {}),
    "gaussian": ("gaussian", {"final_entropy": 0.5, "normalise_observations": True}),
    "mixed": ("mixed", {"normalise_observations": True}),
    "squashed": ("gaussian", {"squash": True, "normalise_rewards": False, "max_grad_norm": 0.05}),
    "no layer before or after": ("categorical", {"embedding": 0, "head": (), "epochs": 1, "minibatches": 4}),
}


@pytest.mark.parametrize(("actions", "changes"), CASES.values(), ids=CASES)
def test_an_update_equals_a_naive_loop(ragged: Families, mixed: Mixed, actions: str, changes: dict[str, Any]) -> None:
    agent = agent_of(ragged(actions), replace(SMALL, final_learning_rate=0.2, **changes))
    # Moments of data, or standardising would change nothing.
    agent.params = agent.learner.inputs.update_statistics(agent.params, agent.collect())
    data = collected(agent, spread=0.3)
    params = {name: value.double() for name, value in agent.params.items()}
    outer = TrialPPO(agent.learner, params)
    updated, logged = outer.update(params, data, 0.5, torch.Generator().manual_seed(3))
    wanted, expected = Naive(agent.learner, data, mixed).update(params, 0.5, torch.Generator().manual_seed(3))
    assert logged == pytest.approx(expected, rel=1e-7)
    assert 0 < logged["clip_fraction"] < 1
    for name, value in wanted.items():
        torch.testing.assert_close(updated[name], value.detach(), msg=f"{name} after", rtol=1e-7, atol=1e-9)
        if not name.startswith("moments."):
            found = outer.adam.params[name].grad
            torch.testing.assert_close(found, value.grad, msg=f"gradient of {name}", rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("memory", memory_names())
@pytest.mark.parametrize("rubbish", [float("nan"), 1e30])
def test_padding_does_not_leak_into_an_update(ragged: Families, memory: Any, rubbish: float) -> None:
    config = replace(SMALL, memory=memory, width=8, normalise_observations=True)
    agent = agent_of(ragged("gaussian"), config)
    data = agent.collect()

    def spoil(value: Tensor) -> Tensor:
        valid = data.valid.reshape(*data.valid.shape, *[1] * (value.ndim - 4))
        return (
            torch.where(valid, value, torch.as_tensor(rubbish).to(value.dtype)) if value.is_floating_point() else value
        )

    spoilt = data._map(spoil)
    assert not torch.equal(spoilt.reward, data.reward)
    results = []
    for each in (data, spoilt):
        outer = TrialPPO(agent.learner, agent.params)
        updated, logged = outer.update(agent.params, each, 0.0, torch.Generator().manual_seed(3))
        updated = agent.learner.inputs.update_statistics(updated, each)
        results.append(({**updated, **outer.state_dict()}, logged))
    assert results[0][1] == results[1][1]
    for name, value in results[0][0].items():
        assert torch.equal(results[1][0][name], value), name


def test_the_numbers_that_inputs_are_standardised_by_change_after_the_update(ragged: Families) -> None:
    """With others than it was collected with, the likelihood ratios of the first minibatch would not be 1."""
    config = replace(SMALL, epochs=1, minibatches=1, normalise_observations=True)
    agent, steps = agent_of(ragged("gaussian"), config), 0
    for _ in range(3):
        taken, logged = agent.train_iteration()
        agent.iteration, steps = agent.iteration + 1, steps + taken
        # All ratios 1, and advantages of mean 0.
        assert logged["train/policy_loss"] == pytest.approx(0, abs=1e-6)
        assert agent.params["moments.observation.count"] == agent.params["moments.reward.count"] == steps


def test_there_are_as_many_minibatches_as_asked_for(ragged: Families) -> None:
    agent = agent_of(ragged("categorical"), replace(SMALL, tasks=6, minibatches=4, epochs=3))
    agent.train_iteration()
    assert agent.training_state()["step.actor.0.weight"] == 3 * 4


@pytest.mark.parametrize("agent", ["rl2", "varibad"])
def test_a_hypernetwork_of_the_heads_starts_as_the_same_policy_and_is_trained(agent: str) -> None:
    def made(layers: int) -> RL2:
        kind = agent_class(agent)
        small = {"tasks": 4, "width": 8, "embedding": 8, "head": (8,), "minibatches": 2, "total_timesteps": 240}
        return kind("metarl/GridNavi-v0", kind.config_class(hypernetwork=layers, **small), seed=1)

    plain, hyper = made(0), made(2)
    assert all(torch.equal(hyper.params[name], value) for name, value in plain.params.items())
    added = set(hyper.params) - set(plain.params)
    assert added == {f"{head}.hyper.{layer}.weight" for head in ("actor", "critic") for layer in (0, 1)}
    hyper.learn(240)
    assert all(float(hyper.params[name].abs().sum()) > 0 for name in added)


def test_layers_of_a_hypernetwork_that_there_are_not() -> None:
    with pytest.raises(MetaRLError, match=r"hypernetwork=3.*0 to 2"):
        RL2Config(head=(8,), hypernetwork=3)
