"""PEARL's posterior, replay and outer loop: by hand and against naive loops; its pitfalls; exact resume; learning."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution, kl_divergence
from torch.nn.functional import softplus

from metarl.adapt.inference import TOTAL
from metarl.agents.pearl import PEARL, PEARLConfig
from metarl.agents.pearl.learner import ACTOR, ENCODER, Z
from metarl.agents.pearl.replay import ContextReplay, TaskReplay
from metarl.agents.pearl.sac import SAC
from metarl.core.errors import MetaRLError
from metarl.core.random import stream_keys
from metarl.core.trajectory import Trajectory
from metarl.core.types import Params
from metarl.envs.engine.torch import TorchFamily
from metarl.evaluation.driver import adaptation_curve
from metarl.rollout.rollout import rollout

Families = Callable[[str], TorchFamily]
Learns = Callable[..., None]
SMALL = PEARLConfig(
    train_tasks=6,
    tasks=3,
    prior_episodes=2,
    posterior_episodes=2,
    latent=2,
    encoder=(5,),
    hidden=(6,),
    replay=40,
    updates=3,
    meta_batch=4,
    batch=5,
    total_timesteps=400,
)
CPU = torch.device("cpu")


def collected(agent: PEARL, n: int = 4, episodes: int = 2, seed: int = 0) -> Trajectory:
    keys = stream_keys(n, "test", seed)
    batch = agent.family.batch(agent.family.splits.train(keys), keys)
    state = agent.learner.initial(agent.params, n)
    return rollout(agent.learner, agent.params, state, batch, n_envs=1, episodes=episodes)[0]


# --- the posterior ---


@pytest.mark.parametrize("changes", [{}, {"prior_factor": False}, {"next_observation": True}])
def test_the_posterior_is_the_product_over_the_valid_transitions(ragged: Families, changes: dict[str, bool]) -> None:
    agent = PEARL(ragged("gaussian"), replace(SMALL, **changes))
    learner, params, data = agent.learner, agent.params, collected(agent)
    state = learner.adapt(params, learner.initial(params, 4), data)
    mean, variance = learner.posterior(params, state)
    for task in range(4):
        precision, weighted = torch.full((2,), float(agent.config.prior_factor)), torch.zeros(2)
        for episode, length in enumerate(data.lengths[task, 0].tolist()):
            for step in range(length):
                at = (task, 0, episode, step)
                parts = [data.observation[at], data.action[at].clamp(-1, 1), data.reward[at][None]]
                last = step + 1 == length
                after = data.final_observation[at[:3]] if last else data.observation[task, 0, episode, step + 1]
                parts += [after] * agent.config.next_observation
                each_mean, spread = learner.encoder(params, torch.cat(parts)[None, None], ENCODER)[0, 0].chunk(2)
                precision, weighted = precision + 1 / softplus(spread), weighted + each_mean / softplus(spread)
        torch.testing.assert_close(mean[task], weighted / precision, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(variance[task], 1 / precision, rtol=1e-4, atol=1e-6)


def test_an_episode_is_played_with_one_z_from_the_prior_while_it_explores_and_then_from_the_posterior() -> None:
    agent = PEARL("metarl/PointNavigation-v0", SMALL, variant="pearl")
    learner, params, noise = agent.learner, agent.params, torch.tensor([[0.5, -1.0]])
    state, data = learner.initial(params, 1), collected(agent, n=1, episodes=1)
    for _ in range(SMALL.prior_episodes):
        assert torch.equal(learner.begin_episode(params, state, noise)[Z], noise)
        state = learner.adapt(params, state, data)
    mean, variance = learner.posterior(params, state)
    begun = learner.begin_episode(params, state, noise)
    torch.testing.assert_close(begun[Z], mean + variance.sqrt() * noise)
    assert not torch.allclose(begun[Z], noise)
    observation = data.observation[:, :, 0, 0]
    one, two = (learner.policy(params, {**begun, Z: z}, observation)["mean"] for z in (begun[Z], begun[Z] + 1))
    assert not torch.equal(one, two)
    assert torch.equal(learner.belief(params, state), torch.cat([mean, variance.log()], -1))


@pytest.mark.parametrize("pooling", ["product", "mean", "attention"])
def test_any_pooling_begins_with_the_prior_and_does_not_care_for_the_order(ragged: Families, pooling: str) -> None:
    agent = PEARL(ragged("gaussian"), replace(SMALL, pooling=pooling))
    learner, params = agent.learner, agent.params
    parts = [collected(agent, episodes=1, seed=seed) for seed in range(2)]
    data, state = Trajectory.concatenate(parts), learner.initial(params, 4)
    mean, variance = learner.posterior(params, state)
    assert mean.eq(0).all()
    assert variance.eq(1).all()
    once = learner.posterior(params, learner.adapt(params, state, data))
    for first, second in ((0, 1), (1, 0)):
        for i in (first, second):
            state = learner.adapt(params, state, parts[i])
        for found, wanted in zip(learner.posterior(params, state), once, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
        state = learner.initial(params, 4)
    assert not torch.allclose(once[0], mean)
    agent.learn(60)
    assert all(value.isfinite().all() for value in agent.params.values())


# --- replay ---


def test_a_replay_keeps_each_tasks_newest_valid_transitions() -> None:
    replay = TaskReplay(3, 4, 1, CPU)
    rows = torch.arange(1.0, 13).reshape(2, 6, 1)
    valid = torch.tensor([[1, 1, 0, 1, 0, 0], [1, 1, 1, 1, 1, 1]], dtype=torch.bool)
    replay.add(torch.tensor([2, 0]), rows, valid)
    assert replay.count.tolist() == [4, 0, 3]
    assert sorted(replay.rows[0, :, 0].tolist()) == [9, 10, 11, 12]
    assert replay.rows[2, :3, 0].tolist() == [1, 2, 4]
    replay.add(torch.tensor([2]), torch.tensor([[[20.0], [21.0]]]), torch.ones(1, 2, dtype=torch.bool))
    assert sorted(replay.rows[2, :, 0].tolist()) == [2, 4, 20, 21]
    drawn = replay.sample(torch.tensor([2, 0]), 200, torch.Generator().manual_seed(0))
    assert [set(each.flatten().tolist()) for each in drawn] == [{2, 4, 20, 21}, {9, 10, 11, 12}]
    again = TaskReplay(3, 4, 1, CPU)
    again.load_state_dict(replay.state_dict())
    assert torch.equal(again.rows, replay.rows)
    assert torch.equal(again.added, replay.added)


def test_a_context_is_the_first_episodes_of_one_of_the_last_trials() -> None:
    contexts = ContextReplay(2, 2, 3, 4, 1, CPU)
    for trial in range(3):  # the first of them is forgotten
        elements = 100.0 * trial + torch.arange(9.0).reshape(1, 3, 3, 1)  # episodes of 3 steps where 4 are possible
        valid = torch.ones(1, 3, 3, dtype=torch.bool)
        valid[0, 1, 2] = False
        contexts.add(torch.tensor([1]), elements, valid)
    generator, seen = torch.Generator().manual_seed(0), set()
    for _ in range(60):
        elements, member = contexts.first_episodes(torch.tensor([1]), 2, generator)
        seen.add(tuple(elements[0, member[0], 0].int().tolist()))
    two, three = (0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 6, 7, 8)
    assert seen == {tuple(100 * trial + i for i in order) for trial in (1, 2) for order in (two, three)}
    elements, member = contexts.transitions(torch.tensor([1, 1]), 300, generator)
    assert member.all()
    assert set(elements.flatten().int().tolist()) == {100 * trial + i for trial in (1, 2) for i in three}


def test_a_share_of_contexts_holds_nothing_but_failures() -> None:
    """Of trials of two episodes of two steps: one is paid in the second episode, one in neither, one in both."""
    contexts = ContextReplay(3, 1, 2, 2, 3, CPU)
    reward = torch.tensor([[0.0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 0]])
    elements = torch.stack([torch.ones_like(reward), torch.ones_like(reward), reward], -1)
    member = torch.tensor([[True] * 4, [True, True, True, False], [True] * 4])
    generator = torch.Generator().manual_seed(0)
    every = contexts.failed(elements, member, 2, 1.0, generator)
    assert every.tolist() == [[True, True, False, False], [True, True, True, False], [True] * 4]
    assert torch.equal(contexts.failed(elements, member, 2, 0.0, generator), member)
    shares = [contexts.failed(elements, member, 2, 0.3, generator)[0].tolist() for _ in range(400)]
    assert 90 < shares.count([True, True, False, False]) < 150
    learner = PEARL("metarl/SparseSemicircle-v0", replace(SMALL, next_observation=True)).learner
    assert (learner.rewards, learner.n_element) == (4, 7)


def test_contexts_of_transitions_hold_exploration_and_the_replay_holds_all() -> None:
    """Pitfall 7: data with z from the posterior would tell the encoder what it has inferred before."""
    for context, n in (("transitions", SMALL.prior_episodes), ("episodes", 4)):
        agent = PEARL("metarl/PointNavigation-v0", replace(SMALL, context=context, replay=400), variant="pearl")
        trials = agent.collect(torch.arange(6))
        agent.store(torch.arange(6), trials)
        assert len(trials) == 3  # the exploration episodes together, then one after the other
        assert int(agent.contexts.valid[:, 0].sum()) == 6 * n * agent.family.horizon
        assert agent.replay.count.tolist() == [4 * agent.family.horizon] * 6
        torch.testing.assert_close(
            agent.contexts.elements[:, 0, : SMALL.prior_episodes],
            agent.learner.elements(trials[0])[:, 0],
        )


def test_a_transition_is_replayed_as_ended_only_where_it_terminated(ragged: Families) -> None:
    """After a time limit the next state has a value still; after a termination it has none."""
    agent = PEARL(ragged("gaussian"), replace(SMALL, replay=400))
    trials = agent.collect(torch.arange(6))
    agent.store(torch.arange(6), trials)
    parts = [(part.terminated & part.valid, part.truncated & part.valid) for part in trials]
    n_terminated, n_truncated = (sum(int(part[which].sum()) for part in parts) for which in (0, 1))
    assert n_terminated > 0
    assert n_truncated > 0
    stored = torch.cat([agent.replay.rows[task, :n] for task, n in enumerate(agent.replay.count.tolist())])
    alive = stored.split(agent.learner.row, -1)[3]
    assert int((alive == 0).sum()) == n_terminated


# --- the outer loop ---


def naive_losses(
    sac: SAC, batch: Tensor, elements: Tensor, member: Tensor, noises: list[Tensor]
) -> tuple[Tensor, Callable[[], Tensor]]:
    """Task by task and transition by transition: the critics' loss with everything beside it, and the actor's."""
    config, learner = sac.config, sac.learner
    n, a = learner.inputs.n_observation, learner.inputs.n_action
    critic, actor = sac.critic.params, sac.actor.params

    def twin(parameters: Params, i: int, row: Tensor) -> Tensor:
        x = row
        for layer in range(len(sac.q.sizes) - 1):
            x = parameters[f"q.{layer}.weight"][i] @ x + parameters[f"q.{layer}.bias"][i]
            x = x if layer == len(sac.q.sizes) - 2 else torch.relu(x)
        return x[0]

    def act(observation: Tensor, z: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, log_std = learner.actor(actor, torch.cat([observation, z])[None, None], ACTOR)[0, 0].chunk(2)
        log_std = log_std.clamp(-20, 2)
        normal = Independent(TransformedDistribution(Normal(mean, log_std.exp()), [TanhTransform(cache_size=1)]), 1)
        before = mean + log_std.exp() * noise
        action = torch.tanh(before)
        log_prob = Normal(mean, log_std.exp()).log_prob(before).sum() - torch.log1p(-action.square()).sum()
        torch.testing.assert_close(log_prob, normal.log_prob(action))
        return action, log_prob, mean, log_std

    def value(parameters: Params, row: Tensor) -> Tensor:
        return sac.v(parameters, row[None, None], "v.")[0, 0, 0]

    z_noise, *action_noises = noises
    errors: tuple[list[Tensor], list[Tensor]] = ([], [])
    kls: list[Tensor] = []
    v_errors: list[Tensor] = []
    seen: list[tuple[Tensor, Tensor, Tensor]] = []  # observations, z and the actor's noise
    alpha = sac.alpha
    for task in range(len(batch)):
        precision, weighted = torch.full((config.latent,), float(config.prior_factor)).double(), 0.0
        for i in range(elements.shape[1]):
            if member[task, i]:
                m, spread = learner.encoder(critic, elements[task, i][None, None], ENCODER)[0, 0].chunk(2)
                precision, weighted = precision + 1 / softplus(spread), weighted + m / softplus(spread)
        posterior = Normal(weighted / precision, precision**-0.5)
        kls.append(kl_divergence(posterior, Normal(torch.zeros(config.latent).double(), 1.0)).sum())
        z = posterior.mean + posterior.stddev * z_noise[task]
        for j in range(batch.shape[1]):
            observation, action, reward, alive, after = batch[task, j].split([n, a, 1, 1, n])
            if config.value_network:
                following = value(sac.target, torch.cat([after, z])).detach()
                chosen, log_prob, *_ = act(observation, z.detach(), action_noises[0][task, j])
                row = torch.cat([observation, z.detach(), chosen])
                worth = torch.minimum(twin(critic, 0, row), twin(critic, 1, row)) - alpha * log_prob
                v_errors.append((value(critic, torch.cat([observation, z.detach()])) - worth.detach()) ** 2)
            else:
                chosen, log_prob, *_ = act(after, z.detach(), action_noises[0][task, j])
                row = torch.cat([after, z.detach(), chosen])
                following = torch.minimum(twin(sac.target, 0, row), twin(sac.target, 1, row)) - alpha * log_prob
            target = (reward[0] + config.gamma * alive[0] * following).detach()
            for i in range(2):
                errors[i].append((twin(critic, i, torch.cat([observation, z, action])) - target) ** 2)
            seen.append((observation, z.detach(), action_noises[-1][task, j]))
    loss = torch.stack(errors[0]).mean() + torch.stack(errors[1]).mean() + config.kl_coef * torch.stack(kls).mean()
    loss = loss + torch.stack(v_errors).mean() if v_errors else loss

    def actor_loss() -> Tensor:
        """By the critics as they are when it is asked for: after their step."""
        now = {name: x.detach() for name, x in critic.items()}
        gains, means, log_stds = [], [], []
        for observation, z, noise in seen:
            chosen, log_prob, mean, log_std = act(observation, z, noise)
            row = torch.cat([observation, z, chosen])
            gains.append(torch.minimum(twin(now, 0, row), twin(now, 1, row)) - alpha * log_prob)
            means.append(mean)
            log_stds.append(log_std)
        small = torch.stack(means).square().mean() + torch.stack(log_stds).square().mean()
        return config.regularisation * small - torch.stack(gains).mean()

    return loss, actor_loss


@pytest.mark.parametrize(
    "changes", [{}, {"value_network": True, "prior_factor": False}, {"kl_coef": 3.0, "alpha": 0.7}]
)
def test_an_update_equals_a_naive_loop(changes: dict[str, float]) -> None:
    config = replace(SMALL, learning_rate=0.01, final_learning_rate=1.0, **changes)
    agent = PEARL("metarl/SparseSemicircle-v0", config, variant="pearl")
    random = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, dtype=torch.float64)

    params = {name: x.double() + 0.3 * normal(*x.shape) for name, x in agent.params.items()}
    torch.set_default_dtype(torch.float64)  # what is drawn within an update
    try:
        sac, twin = (SAC(agent.learner, params, torch.Generator().manual_seed(1)) for _ in range(2))
        for each in (sac, twin):  # targets of their own
            each.target = {name: x + 0.1 for name, x in each.target.items()}
        batch, elements = normal(4, 5, sum(agent.learner.row)), normal(4, 7, agent.learner.n_element)
        batch[..., 5] = (batch[..., 5] > 0).double()
        member = torch.rand(4, 7, generator=random) < 0.6
        logged = sac.update(batch, elements, member, 0.0, torch.Generator().manual_seed(2))
        draws = torch.Generator().manual_seed(2)
        noises = [torch.randn(4, 2, generator=draws)]
        noises += [torch.randn(4, 5, 2, generator=draws) for _ in range(1 if config.value_network else 2)]
        loss, actor_loss = naive_losses(twin, batch, elements, member, noises)
        before = {name: x.detach().clone() for name, x in twin.critic.params.items()}
        twin.critic.minimise(loss)
        twin.actor.minimise(actor_loss())
    finally:
        torch.set_default_dtype(torch.float32)
    for mine, other in ((sac.critic, twin.critic), (sac.actor, twin.actor)):
        for name, value in other.params.items():
            torch.testing.assert_close(mine.params[name], value, msg=name, rtol=1e-7, atol=1e-9)
            torch.testing.assert_close(mine.params[name].grad, value.grad, msg=name, rtol=1e-6, atol=1e-9)
    for name, value in sac.target.items():
        old = twin.target[name]
        torch.testing.assert_close(value, old + config.tau * (twin.critic.params[name] - old))
    assert not torch.equal(before["q.0.weight"], twin.critic.params["q.0.weight"])
    assert logged["q_error"] > 0


def test_the_weight_of_the_kl_does_not_depend_on_how_many_tasks_are_in_a_meta_batch() -> None:
    """Pitfall 7: the same tasks five times give the same gradient."""
    agent = PEARL("metarl/SparseSemicircle-v0", replace(SMALL, kl_coef=1e4), variant="pearl")
    elements, member = torch.randn(2, 7, agent.learner.n_element), torch.ones(2, 7, dtype=torch.bool)

    def gradient(times: int) -> Tensor:
        """So large a weight that the critics' error, in which noise differs, has next to no part in it."""
        sac = SAC(agent.learner, agent.params, torch.Generator().manual_seed(1))
        rows = torch.zeros(2 * times, 3, sum(agent.learner.row))
        context = elements.repeat(times, 1, 1), member.repeat(times, 1)
        sac.update(rows, *context, 0.0, torch.Generator().manual_seed(2))
        found = sac.critic.params[f"{ENCODER}0.weight"].grad
        assert found is not None
        return found

    one, five = gradient(1), gradient(5)
    assert one.abs().max() > 10
    torch.testing.assert_close(one, five, rtol=1e-3, atol=1e-3 * float(one.abs().max()))


def test_the_actor_and_the_value_do_not_train_the_encoder() -> None:
    agent = PEARL("metarl/SparseSemicircle-v0", replace(SMALL, value_network=True, kl_coef=0.0), variant="pearl")
    sac = SAC(agent.learner, agent.params, torch.Generator().manual_seed(1))
    with torch.no_grad():  # critics that say nothing of z
        sac.critic.params["q.0.weight"][:, :, 2:4] = 0
    elements, member = torch.randn(2, 7, agent.learner.n_element), torch.ones(2, 7, dtype=torch.bool)
    sac.update(torch.randn(2, 3, sum(agent.learner.row)), elements, member, 0.0, torch.Generator().manual_seed(2))
    gradients = [value.grad for name, value in sac.critic.params.items() if name.startswith(ENCODER)]
    assert gradients
    assert all(gradient is not None and gradient.eq(0).all() for gradient in gradients)


@pytest.mark.parametrize(("log_std", "rises"), [(-3.0, True), (0.0, False)], ids=["too sure", "too random"])
def test_the_entropys_weight_rises_where_the_policy_is_too_sure_and_falls_where_it_is_too_random(
    log_std: float, rises: bool
) -> None:
    """The wanted entropy is minus the number of action dimensions (Haarnoja et al. 2018, appendix D)."""
    agent = PEARL("metarl/SparseSemicircle-v0", replace(SMALL, tune_alpha=True, learning_rate=0.01), variant="pearl")
    last = f"{ACTOR}{len(SMALL.hidden)}"
    n = agent.learner.inputs.n_action
    bias = torch.cat([torch.zeros(n), torch.full((n,), log_std)])
    flat = {f"{last}.weight": torch.zeros_like(agent.params[f"{last}.weight"]), f"{last}.bias": bias}
    sac = SAC(agent.learner, {**agent.params, **flat}, torch.Generator().manual_seed(1))
    before = float(sac.alpha)
    elements, member = torch.randn(2, 7, agent.learner.n_element), torch.ones(2, 7, dtype=torch.bool)
    rows = torch.randn(2, 50, sum(agent.learner.row))
    logged = sac.update(rows, elements, member, 0.0, torch.Generator().manual_seed(2))
    assert (float(logged["entropy"]) < -n) == rises
    assert (float(sac.alpha) > before) == rises


# --- evaluation, resume, refusals ---


def test_evaluation_adapts_to_what_it_has_just_played_and_to_nothing_else() -> None:
    """Pitfall 8: not to what training has kept."""
    agent = PEARL("metarl/SparseSemicircle-v0", SMALL, variant="pearl")
    agent.learn(400)
    kept = {name: value.clone() for name, value in agent.training_state().items()}
    curve = adaptation_curve(agent.learner, agent.params, agent.family, agent.family.splits.test, points=4)
    state = agent.learner.initial(agent.params, len(agent.family.splits.test))
    for point, trajectory in enumerate(curve.trajectories):
        assert torch.equal(curve.states[point][TOTAL], state[TOTAL])
        state = agent.learner.adapt(agent.params, state, trajectory)
    assert all(torch.equal(value, kept[name]) for name, value in agent.training_state().items())


@pytest.mark.parametrize("changes", [{}, {"context": "transitions", "value_network": True, "tune_alpha": True}])
def test_a_resumed_training_is_the_one_that_was_never_stopped(
    ragged: Families, changes: dict[str, object], tmp_path: Path
) -> None:
    config = replace(SMALL, **changes)  # type: ignore[arg-type]
    whole, first = (PEARL(ragged("gaussian"), config) for _ in range(2))
    whole.learn(200)
    stopped = first.train_until(200, callback=lambda local, _: local["self"].iteration < 2)
    assert stopped.iteration == 2 < whole.iteration
    first.save(tmp_path / "half")
    second = PEARL(ragged("gaussian"), config)
    second.learn(50)  # what it has learnt itself is forgotten
    second.restore(tmp_path / "half").train_until(200)
    assert whole.num_timesteps == second.num_timesteps
    for mine, other in ((whole.params, second.params), (whole.training_state(), second.training_state())):
        assert mine.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in mine.items())


def test_what_it_cannot_learn_on_is_refused_in_words(ragged: Families) -> None:
    with pytest.raises(MetaRLError, match="acts in a Box or in a Discrete, got Tuple"):
        PEARL(ragged("mixed"), SMALL)
    with pytest.raises(MetaRLError, match="has no extra 'shaped'"):
        PEARL(ragged("gaussian"), replace(SMALL, dense_reward="shaped")).learn(10)
    with pytest.raises(MetaRLError, match="tasks=7"):
        replace(SMALL, tasks=7)


# --- learning ---


def test_it_learns_to_infer_the_side_and_to_go_there(learns: Learns, sides: TorchFamily, of_sides: PEARLConfig) -> None:
    def score(seed: int) -> dict[str, float]:
        agent = PEARL(sides, of_sides, seed=seed).learn()
        tasks = agent.family.splits.test[np.arange(40) % 2]
        curve = adaptation_curve(agent.learner, agent.params, agent.family, tasks, points=4)
        assert curve.deterministic is not None
        skip_exploration, adapted = curve.deterministic.mean(1)[[0, 3]]
        # Another task's context sends it to the other side.
        others = curve.trajectories[0].tasks(torch.arange(40).flip(0))
        misled = agent.learner.adapt(agent.params, curve.states[0], others)
        batch = agent.family.batch(tasks, stream_keys(40, "other"))
        wrong, _ = rollout(agent.learner, agent.params, misled, batch, n_envs=1, first_episode=1)
        return {"explored": abs(skip_exploration), "adapted": adapted, "misled": float(wrong.returns.mean())}

    # Of 3 where the side is known; without knowing it there is nothing to win.
    learns(score, above={"adapted": 2.4}, below={"explored": 1.5, "misled": 0})
