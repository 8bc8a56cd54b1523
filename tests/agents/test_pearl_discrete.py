"""PEARL on discrete actions: the soft value as a sum over choices, by hand; exact resume; learning."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from metarl.agents.pearl import PEARL, PEARLConfig
from metarl.agents.pearl.learner import ACTOR
from metarl.agents.pearl.sac import SAC
from metarl.envs.engine.torch import State, TaskTensors, TorchFamily
from metarl.evaluation.driver import adaptation_curve
from metarl.tasks import Choice, Closed, TaskSpace

CONFIG = PEARLConfig(
    train_tasks=2,
    tasks=2,
    meta_batch=2,
    batch=64,
    hidden=(32,),
    encoder=(16,),
    latent=2,
    updates=25,
    alpha=0.02,
    learning_rate=3e-3,
    total_timesteps=1_600,
)


class Levers(TorchFamily):
    """Pull the one of two levers that pays; which one is hidden."""

    tasks = TaskSpace(pays=Choice((0.0, 1.0)))
    split = Closed()
    observation_space = Box(0, 1, (1,), np.float32)
    action_space = Discrete(2)
    horizon = 5
    episodes_per_trial = 4

    def reset(self, task: TaskTensors, u: Tensor) -> State:
        return {"step": torch.zeros_like(task["pays"])}

    def step(self, state: State, action: Tensor, task: TaskTensors, u: Tensor) -> tuple[State, Tensor, Tensor]:
        hit = (action == task["pays"]).float()
        return {"step": state["step"] + 0.2}, hit, torch.zeros_like(hit, dtype=torch.bool)

    def observe(self, state: State, task: TaskTensors) -> Tensor:
        return state["step"][:, None].clamp(0, 1)


def updated(**changes: bool) -> tuple[SAC, dict[str, Tensor]]:
    """One update from a policy of 1/4 and 3/4, critics of 1, 4 and 2, 3, with α = .5, γ = .9 and a reward of 2."""
    config = PEARLConfig(**{**vars(CONFIG), "alpha": 0.5, "kl_coef": 0.0, "regularisation": 0.0, **changes})  # type: ignore[arg-type]
    agent = PEARL(Levers(), config)
    learner, last = agent.learner, len(config.hidden)
    params = {
        name: torch.zeros_like(value) if name.startswith(ACTOR) else value for name, value in agent.params.items()
    }
    params[f"{ACTOR}{last}.bias"] = torch.tensor([0.25, 0.75]).log()
    sac = SAC(learner, params, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for values in (sac.critic.params, sac.target):
            for name, value in values.items():
                if name.startswith(("q.", "v.")):
                    value.zero_()
            if f"q.{last}.bias" in values:
                values[f"q.{last}.bias"].copy_(torch.tensor([[1.0, 4.0], [2.0, 3.0]]))
    row = torch.tensor([0.4, 0.0, 1.0, 2.0, 1.0, 0.6])  # observation, one-hot action, reward, goes on, next
    batch, elements = row.expand(2, 3, -1), torch.randn(2, 4, learner.n_element)
    member = torch.ones(2, 4, dtype=torch.bool)
    return sac, sac.update(batch, elements, member, 0.0, torch.Generator().manual_seed(1))


def test_the_soft_value_is_a_sum_over_the_choices() -> None:
    value = 0.25 * (1 - 0.5 * math.log(0.25)) + 0.75 * (3 - 0.5 * math.log(0.75))  # 2.781 by the lesser critic
    target = 2 + 0.9 * value  # 4.503; the second lever was pulled, which the critics take for 4 and for 3
    _, logged = updated()
    assert float(logged["q_error"]) == pytest.approx((4 - target) ** 2 + (3 - target) ** 2, rel=1e-5)
    assert float(logged["entropy"]) == pytest.approx(0.56234, rel=1e-4)
    _, logged = updated(value_network=True)  # which says 0 of what follows
    assert float(logged["q_error"]) == pytest.approx((4 - 2) ** 2 + (3 - 2) ** 2, rel=1e-5)
    assert float(logged["v_error"]) == pytest.approx(value**2, rel=1e-5)


def test_the_policys_gradient_is_that_of_the_expected_soft_value() -> None:
    """By hand: p_i (mean - each_i) of the soft values Q - α log π; the entropy's own derivative adds nothing."""
    sac, _ = updated()
    now = sac.critic.params[f"q.{len(CONFIG.hidden)}.bias"].detach().amin(0)  # after the critics' step
    p = np.array([0.25, 0.75])
    each = now.numpy() - 0.5 * np.log(p)
    gradient = sac.actor.params[f"{ACTOR}{len(CONFIG.hidden)}.bias"].grad
    assert gradient is not None
    np.testing.assert_allclose(gradient, p * ((p * each).sum() - each), rtol=1e-4)


def test_the_entropys_weight_rises_below_98_percent_of_the_greatest_entropy() -> None:
    sac, logged = updated(tune_alpha=True)
    assert float(logged["entropy"]) < 0.98 * math.log(2)
    assert float(sac.alpha) > 0.5


def test_a_resumed_training_is_the_one_that_was_never_stopped(tmp_path: Path) -> None:
    whole, first = (PEARL(Levers(), CONFIG) for _ in range(2))
    whole.learn(300)
    first.train_until(300, callback=lambda local, _: local["self"].iteration < 2)
    first.save(tmp_path / "half")
    second = PEARL(Levers(), CONFIG).restore(tmp_path / "half").train_until(300)
    assert all(torch.equal(value, second.params[name]) for name, value in whole.params.items())


def test_it_learns_to_infer_the_lever(learns: Callable[..., None]) -> None:
    def score(seed: int) -> dict[str, float]:
        agent = PEARL(Levers(), CONFIG, seed=seed).learn()
        tasks = agent.family.splits.test[np.arange(40) % 2]
        curve = adaptation_curve(agent.learner, agent.params, agent.family, tasks, points=4)
        assert curve.deterministic is not None
        return {"first": float(curve.deterministic.mean(1)[0]), "adapted": float(curve.deterministic.mean(1)[3])}

    # Of 5; whoever does not know the lever gets 2.5.
    learns(score, above={"adapted": 4.5}, below={"first": 3.5})
