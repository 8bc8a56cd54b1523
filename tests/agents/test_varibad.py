"""VariBAD: what trains what, the bound against a naive loop, and a belief that comes to know the task."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from metarl.agents.varibad import VariBAD, VariBADConfig
from metarl.agents.varibad import elbo as elbo_module
from metarl.agents.varibad.buffer import TrialBuffer
from metarl.agents.varibad.elbo import ELBO
from metarl.core.errors import MetaRLError
from metarl.core.trajectory import Trajectory
from metarl.envs.engine.torch import TorchFamily

Families = Callable[[str], TorchFamily]
Learns = Callable[..., None]
SMALL = VariBADConfig(
    tasks=8,
    width=8,
    embedding=6,
    head=(5,),
    minibatches=2,
    epochs=2,
    latent=3,
    decoder=(7, 4),
    vae_tasks=4,
    vae_beliefs=5,
    vae_targets=6,
    vae_updates=2,
    buffer=12,
)
HEADS = ("actor.", "critic.")


def collected(agent: VariBAD) -> Trajectory:
    agent.train_iteration()
    agent.iteration += 1
    return agent.collect()


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_the_policys_gradient_reaches_the_heads_alone_and_the_bounds_everything_else(ragged: Families) -> None:
    agent = VariBAD(ragged("gaussian"), SMALL)
    trajectory, before = collected(agent), agent.params
    agent.params, _ = agent.outer.update(before, trajectory, 0.0, torch.Generator().manual_seed(0))
    learned = {name for name in before if not name.startswith("moments.")}
    heads = {name for name in learned if name.startswith(HEADS)}
    assert changed(before, agent.params) == heads
    after, _ = agent.belief.update(agent.params, trajectory, 0.0, torch.Generator().manual_seed(0))
    assert changed(agent.params, after) == learned - heads


def naive_bound(agent: VariBAD, elbo: ELBO, decoder: dict[str, Tensor], data: Trajectory, noise: Tensor) -> float:
    """The bound as it is written, with every belief and every step drawn once, in order."""
    learner, params, config = agent.learner, {**agent.params, **decoder}, agent.config
    outputs, totals = [], []
    for task in range(data.n_tasks):
        one = data.tasks(slice(task, task + 1))
        read, _ = learner.remember(params, learner.initial(params, 1), one)
        mean, log_variance = (x.flatten(0, 3)[one.valid.flatten()] for x in learner.gaussian(params, read))
        rows = learner.inputs.decodable(params, one.filled()).flatten(0, 3)[one.valid.flatten()]
        reward = learner.inputs.reward(params, one.reward)[one.valid]
        length, kl = len(rows), 0.0
        previous = Normal(torch.zeros(config.latent), torch.ones(config.latent))
        for t in range(length):
            belief = Normal(mean[t], torch.exp(0.5 * log_variance[t]))
            kl += float(kl_divergence(belief, previous).sum())
            previous = belief
        for index, t in enumerate(range(length)):
            z = mean[t] + torch.exp(0.5 * log_variance[t]) * noise[task, index]
            for i in range(length):
                guess = elbo.decode(params, z[None, None], rows[i][None, None])
                n = learner.inputs.n_observation
                error = config.reward_coef * (guess[0][0, 0, 0] - reward[i]) ** 2
                if config.state_coef:
                    error = error + config.state_coef * (guess[1][0, 0, 0] - rows[i, -n:]).square().mean()
                outputs.append(float(error) * length / length**2)
        totals.append(sum(outputs) + config.kl_coef * kl / length)
        outputs = []
    return float(np.mean(totals))


@pytest.mark.parametrize("state_coef", [0.0, 0.7])
def test_the_bound_equals_a_naive_loop(ragged: Families, monkeypatch: pytest.MonkeyPatch, state_coef: float) -> None:
    family = ragged("gaussian")
    config = replace(SMALL, state_coef=state_coef, tasks=3, vae_tasks=3, kl_coef=0.3)
    agent = VariBAD(family, config)
    data = collected(agent)
    # The belief's head begins near zero, where every belief is a standard normal and any prior gives the same KL.
    belief = {name: 10 * value for name, value in agent.params.items() if name.startswith("belief.")}
    assert belief
    agent.params = {**agent.params, **belief}
    # Trials of one length, so that as many draws as there are steps take each of them once.
    length = int(data.valid.flatten(1).sum(1)[0])
    same = data.valid.flatten(1).sum(1) == length
    data = data.tasks(same)
    object.__setattr__(config, "vae_beliefs", length)
    object.__setattr__(config, "vae_targets", length)

    def in_order(valid: Tensor, *_: object) -> Tensor:
        return torch.stack([row.nonzero()[:, 0] for row in valid])

    monkeypatch.setattr(elbo_module, "_draw", in_order)
    generator = torch.Generator().manual_seed(5)
    decoder = ELBO(agent.learner).init(torch.Generator().manual_seed(1))
    noise = torch.randn(data.n_tasks, length, config.latent, generator=torch.Generator().manual_seed(5))
    elbo = ELBO(agent.learner)
    loss, _ = elbo.loss({**agent.params, **decoder}, data, elbo.draw(data, generator))
    assert float(loss) == pytest.approx(naive_bound(agent, elbo, decoder, data, noise), rel=1e-4)


def test_padding_has_no_part_in_the_bound(ragged: Families) -> None:
    agent = VariBAD(ragged("gaussian"), SMALL)
    data = collected(agent)
    assert not bool(data.valid.all())
    padding = ~data.valid
    spoiled = replace(
        data,
        reward=data.reward.masked_fill(padding, torch.nan),
        observation=data.observation.masked_fill(padding[..., None], torch.nan),
    )
    decoder = agent.belief.adam.values()
    elbo, drawn = agent.belief.elbo, agent.belief.elbo.draw(data, torch.Generator().manual_seed(0))
    losses = [elbo.loss({**agent.params, **decoder}, each, drawn)[0] for each in (data, spoiled)]
    assert torch.equal(*losses)


def test_a_reward_may_be_decoded_from_where_a_transition_ends_alone(ragged: Families) -> None:
    elbo = ELBO(VariBAD(ragged("gaussian"), replace(SMALL, decoder_input="next_observation")).learner)
    whole = ELBO(VariBAD(ragged("gaussian"), SMALL).learner)
    generator = torch.Generator().manual_seed(0)
    params = elbo.init(generator)
    z, n = torch.randn(2, 1, 3, generator=generator), elbo.learner.inputs.n_observation
    ends = torch.randn(2, 4, elbo._n_inputs, generator=generator)
    others = torch.cat([torch.randn(ends[..., :-n].shape, generator=generator), ends[..., -n:]], -1)
    assert torch.equal(elbo.decode(params, z, ends)[0], elbo.decode(params, z, others)[0])
    assert not torch.allclose(whole.decode(params, z, ends)[0], whole.decode(params, z, others)[0])
    assert not torch.allclose(elbo.decode(params, z, ends)[0], elbo.decode(params, z, ends + 1)[0])


def test_heads_may_see_standardised_beliefs(ragged: Families) -> None:
    agent = VariBAD(ragged("gaussian"), replace(SMALL, normalise_beliefs=True, tasks=64))
    data = agent.collect()
    agent.params = agent.learner.update_statistics(agent.params, data)
    features = data.record["features"][data.valid]
    seen, n = agent.learner.head_inputs(agent.params, features), agent.learner.n_context
    torch.testing.assert_close(seen[:, :n].mean(0), torch.zeros(n), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen[:, :n].std(0, correction=0), torch.ones(n), atol=1e-2, rtol=0)
    assert torch.equal(seen[:, n:], features[:, n:])
    plain = VariBAD(ragged("gaussian"), SMALL)
    assert torch.equal(plain.learner.head_inputs(plain.params, features), features)


def test_drawn_steps_are_valid_and_differ_where_there_are_enough() -> None:
    valid = torch.tensor([[1, 1, 0, 1, 0, 1], [0, 0, 1, 0, 0, 0]]).bool()
    drawn = elbo_module._draw(valid, 4, torch.Generator().manual_seed(0))
    assert sorted(drawn[0].tolist()) == [0, 1, 3, 5]
    assert drawn[1].tolist() == [2, 2, 2, 2]


def test_a_next_observation_is_not_decoded_from_itself(ragged: Families) -> None:
    agent = VariBAD(ragged("gaussian"), replace(SMALL, state_coef=1.0))
    data = collected(agent)
    rows = agent.learner.inputs.decodable(agent.params, data).flatten(1, 3)
    params = {**agent.params, **agent.belief.adam.values()}
    z = torch.zeros(len(rows), 1, agent.config.latent)
    other = rows.clone()
    other[..., -agent.learner.inputs.n_observation :] += 1
    (reward, state), (other_reward, other_state) = (agent.belief.elbo.decode(params, z, each) for each in (rows, other))
    assert torch.equal(state, other_state)
    assert not torch.equal(reward, other_reward)


def test_the_buffer_keeps_the_newest_trials_of_any_length(ragged: Families) -> None:
    agent, buffer = VariBAD(ragged("gaussian"), SMALL), TrialBuffer(12)
    first, second = collected(agent), collected(agent)
    buffer.add(first)
    assert buffer.sample(20, torch.Generator()).n_tasks == 8
    buffer.add(second)
    every = buffer.sample(20, torch.Generator())
    assert every.n_tasks == 12
    returns = torch.cat([first.tasks(slice(4, 8)).returns, second.returns]).flatten(1)
    assert {tuple(row) for row in every.returns.flatten(1).tolist()} == {tuple(row) for row in returns.tolist()}
    restored = TrialBuffer(12)
    restored.load_state_dict(buffer.state_dict())
    one, other = (b.sample(5, torch.Generator().manual_seed(3)) for b in (buffer, restored))
    assert torch.equal(one.observation, other.observation)
    assert torch.equal(one.valid, other.valid)


@pytest.mark.parametrize("novelty_coef", [0.0, 0.5])
def test_training_resumes_bit_for_bit(ragged: Families, tmp_path: Path, novelty_coef: float) -> None:
    config = replace(SMALL, novelty_coef=novelty_coef)
    whole = VariBAD(ragged("categorical"), config)
    for _ in range(4):
        collected(whole)
    half = VariBAD(ragged("categorical"), config)
    for _ in range(2):
        collected(half)
    half.save(tmp_path / "half.safetensors")
    resumed = VariBAD(ragged("categorical"), config).restore(tmp_path / "half.safetensors")
    for _ in range(2):
        collected(resumed)
    states = whole.training_state(), resumed.training_state()
    assert states[0].keys() == states[1].keys()
    assert any(name.startswith("novelty") for name in states[0]) == bool(novelty_coef)
    assert changed(whole.params, resumed.params) == set()
    assert changed(*states) == set()


def test_the_belief_comes_to_know_what_the_last_step_pays(ragged: Families, learns: Learns) -> None:
    """The family hides one number, which an episode's last reward tells: one episode is enough to know it."""
    learned = {"decoder": (16, 16), "kl_coef": 0.001, "vae_learning_rate": 1e-2}
    config = replace(SMALL, tasks=64, vae_tasks=32, buffer=256, vae_updates=20, **learned)

    def score(seed: int) -> dict[str, float]:
        agent = VariBAD(ragged("gaussian"), config, seed=seed)
        for _ in range(15):
            agent.train_iteration()
            agent.iteration += 1
        pays, data = agent.training_batch().task["pays"], agent.collect()
        read, _ = agent.learner.remember(agent.params, agent.learner.initial(agent.params, 64), data)
        beliefs = agent.learner.gaussian(agent.params, read)[0][:, 0, :, 0]  # at the first step of each episode
        before, after = (_explained(beliefs[:, episode], pays) for episode in (0, 1))
        return {"before": before, "after": after}

    # At first nothing has been seen.
    learns(score, above={"after": 0.7}, below={"before": 0.3})


def _explained(belief: Tensor, truth: Tensor) -> float:
    design = torch.cat([belief, torch.ones(len(belief), 1)], 1).double()
    fit = torch.linalg.lstsq(design, truth.double()[:, None], driver="gelsd").solution
    return float(1 - (truth - (design @ fit)[:, 0]).var() / truth.double().var())


@pytest.mark.parametrize("field", [{"latent": 0}, {"decoder": ()}, {"kl_coef": -1.0}, {"vae_tasks": 99}, {"tasks": 0}])
def test_a_bad_configuration_is_refused_by_name(field: dict[str, float]) -> None:
    with pytest.raises(MetaRLError, match=next(iter(field))):
        replace(SMALL, **field)
