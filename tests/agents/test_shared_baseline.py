"""A baseline that all tasks share: against least squares by hand, in blocks, and what MAML learns by it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from metarl.agents.maml import MAML, MAMLConfig
from metarl.agents.maml.learner import MAMLLearner
from metarl.core.advantages import (
    discounted_returns,
    generalised_advantage,
    linear_features,
    next_value_finite_horizon,
    normalised_advantage,
)
from metarl.core.baseline import SharedBaseline
from metarl.core.normalisation import trained
from metarl.core.parallel import TaskParallel
from metarl.core.random import stream_keys
from metarl.core.trajectory import Trajectory
from metarl.envs.engine.torch import TorchFamily
from metarl.evaluation.driver import adaptation_curve
from metarl.rollout.rollout import rollout

Families = Callable[[str], TorchFamily]
SMALL = MAMLConfig(tasks=6, episodes=1, hidden=(4,), inner_steps=1, baseline="shared", gamma=0.9, gae_lambda=0.8)
WEIGHTS, SPREAD = "moments.baseline.weights", "moments.baseline.spread"


def played(agent: MAML, seed: int = 0) -> Trajectory:
    keys = stream_keys(6, "test", seed)
    batch = agent.family.batch(agent.family.splits.train(keys), keys)
    return rollout(agent.learner, agent.params, agent.learner.initial(agent.params, 6), batch, n_envs=1, episodes=2)[0]


def by_hand(data: Trajectory, returns: torch.Tensor) -> np.ndarray:
    """Ridge regression of the returns at every valid step of every task, by least squares with further rows."""
    valid = data.valid.numpy()
    features, targets = linear_features(data).numpy()[valid], returns.double().numpy()[valid]
    n = features.shape[1]
    rows = np.concatenate([features, np.sqrt(1e-5 * len(features)) * np.eye(n)])
    return np.linalg.lstsq(rows, np.concatenate([targets, np.zeros(n)]), rcond=None)[0]


def test_it_is_a_running_mean_of_ridge_regressions_on_all_tasks(ragged: Families) -> None:
    agent = MAML(ragged("gaussian"), SMALL)
    learner, params = agent.learner, agent.params
    weights, spread = np.zeros(8), 0.0
    for batch in range(4):
        data = played(agent, batch)
        value = (linear_features(data) @ torch.from_numpy(weights)).float()
        raw = generalised_advantage(
            data.reward, value, next_value_finite_horizon(value, data.valid), data.valid, 0.9, 0.8
        )
        # What there is no spread of yet is normalised per task.
        wanted = raw / spread if batch > 1 else normalised_advantage(raw, data.valid)
        known = learner.with_advantage(params, data)
        torch.testing.assert_close(known.record["advantage"], wanted, rtol=1e-4, atol=1e-5)
        params = {**params, **learner.update_baseline(params, [[known]], TaskParallel())}

        fitted = by_hand(data, discounted_returns(data.reward, data.valid, 0.9))
        weights = 0.8 * weights + 0.2 * fitted if batch else fitted
        new = float(raw[data.valid].square().mean().sqrt())
        spread = 0.8 * spread + 0.2 * new if batch > 1 else new
        np.testing.assert_allclose(params[WEIGHTS].numpy(), weights, rtol=1e-5, atol=1e-7)
        assert float(params[SPREAD]) == pytest.approx(spread, rel=1e-5)


def test_blocks_add_up_and_padding_has_no_part(ragged: Families) -> None:
    agent = MAML(ragged("gaussian"), SMALL)
    data = agent.learner.with_advantage(agent.params, played(agent))
    whole = agent.learner.update_baseline(agent.params, [[data]], TaskParallel())
    spoilt = replace(
        data,
        reward=torch.where(data.valid, data.reward, 7.0),
        observation=torch.where(data.valid[..., None], data.observation, -3.0),
    )
    halves = [[spoilt.tasks(slice(0, 2))], [spoilt.tasks(slice(2, 6))]]
    cut = agent.learner.update_baseline(agent.params, halves, TaskParallel(2))
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, rtol=1e-9, atol=1e-9)


def test_no_gradient_reaches_it_and_it_is_kept(ragged: Families, tmp_path: Path) -> None:
    whole, first = (MAML(ragged("gaussian"), SMALL) for _ in range(2))
    whole.learn(300)
    first.train_until(300, callback=lambda local, _: local["self"].iteration < 3)
    first.save(tmp_path / "half")
    second = MAML(ragged("gaussian"), SMALL).restore(tmp_path / "half")
    assert not torch.equal(second.params[WEIGHTS], whole.params[WEIGHTS])
    second.train_until(300)
    assert whole.params.keys() == second.params.keys()
    assert all(torch.equal(value, second.params[name]) for name, value in whole.params.items())
    assert set(whole.params) - set(trained(whole.params)) == set(SharedBaseline(2).init())
    assert not any("baseline" in name for name in whole.outer.state_dict())


def test_images_leave_it_the_time_alone() -> None:
    pixels = MAMLLearner(Box(0, 255, (3, 16, 16), np.uint8), Discrete(3), SMALL).init(torch.Generator())
    assert pixels[WEIGHTS].shape == (4,)
    assert MAML("metarl/PointNavigation-v0", SMALL, variant="pearl").params[WEIGHTS].shape == (8,)
    assert not any("baseline" in name for name in MAML("metarl/GridNavi-v0", replace(SMALL, baseline="task")).params)


def test_the_first_reward_after_none_is_no_shock(ragged: Families) -> None:
    """Batches without a reward say nothing of the spread, and what comes after a long time of tiny ones is clipped."""
    agent = MAML(ragged("gaussian"), SMALL)
    learner, params, data = agent.learner, agent.params, played(agent)
    nothing = replace(data, reward=torch.zeros_like(data.reward))
    for _ in range(3):
        known = learner.with_advantage(params, nothing)
        params = {**params, **learner.update_baseline(params, [[known]], TaskParallel())}
    assert all(torch.equal(params[name], agent.params[name]) for name in (WEIGHTS, SPREAD))
    for batch in (data, data, *[nothing] * 100):
        known = learner.with_advantage(params, batch)
        params = {**params, **learner.update_baseline(params, [[known]], TaskParallel())}
    assert float(learner.with_advantage(params, data).record["advantage"].abs().max()) == 10.0


def test_one_episode_a_task_is_enough_to_adapt_by(learns: Callable[..., None], sides: TorchFamily) -> None:
    """A baseline of five steps' own has six weights, explains all of them, and leaves nothing to learn from."""
    config = replace(SMALL, tasks=40, hidden=(16,), gamma=0.99, learning_rate=1e-2, total_timesteps=40_000)
    tasks = sides.splits.test[np.arange(80) % 2]

    def score(seed: int) -> dict[str, float]:
        found = {}
        for baseline in ("shared", "task"):
            agent = MAML(sides, replace(config, baseline=baseline), seed=seed).learn()  # type: ignore[arg-type]
            curve = adaptation_curve(agent.learner, agent.params, agent.family, tasks, points=2, n_envs=1)
            found[baseline] = float(curve.returns.mean(1)[1])
        return found

    # Of 3 where the side is known.
    learns(score, above={"shared": 1.25}, below={"task": 1.25})
