"""VariBAD's bonus for novelty: what it measures, where it is added, and how it falls."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metarl.agents.varibad import VariBAD, VariBADConfig
from metarl.agents.varibad.novelty import Novelty
from metarl.core.errors import MetaRLError
from metarl.core.trajectory import Trajectory
from metarl.envs.engine.torch import TorchFamily

Families = Callable[[str], TorchFamily]
SMALL = VariBADConfig(
    tasks=8, width=8, embedding=6, head=(5,), minibatches=2, epochs=2, latent=3, decoder=(7, 4), vae_tasks=4,
    vae_beliefs=5, vae_targets=6, vae_updates=2, buffer=12, novelty_coef=0.5, novelty_until=0.5,
)  # fmt: skip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def steps(values: Tensor) -> tuple[Tensor, Tensor]:
    """Hyper-states of one trial a row, all of them valid."""
    return values[:, None, None], torch.ones(len(values), 1, 1, values.shape[1], dtype=torch.bool)


def test_novelty_is_the_error_of_a_prediction_over_its_running_mean() -> None:
    novelty, (met, valid) = Novelty(2, generator()), steps(torch.randn(4, 5, 2, generator=generator(1)))
    before = novelty.adam.values()
    first = novelty.update(met, valid, generator())
    standardised = (met - met.flatten(0, 3).mean(0)) / (met.flatten(0, 3).var(0, correction=0) + 1e-8).sqrt()

    def network(params: dict[str, Tensor], x: Tensor) -> Tensor:
        for layer in range(3):
            x = x @ params[f"{layer}.weight"].T + params[f"{layer}.bias"]
            x = torch.relu(x) if layer < 2 else x
        return x

    error = (network(before, standardised) - network(novelty.target, standardised)).square().mean(-1)
    torch.testing.assert_close(first, error / error.mean(), rtol=1e-3, atol=1e-4)
    again = novelty.update(met + 0.5, valid, generator())
    assert float(again.mean()) != pytest.approx(1.0)  # over the mean of all so far, not of this batch


def test_what_was_often_met_is_less_novel_than_what_was_not() -> None:
    novelty = Novelty(2, generator())
    for seed in range(100):
        home = torch.randn(16, 8, 2, generator=generator(seed))
        home[0, 0] = 6.0  # one step in 128 is far away
        novelty.update(*steps(home), generator(seed))
    home = torch.randn(16, 8, 2, generator=generator(999))
    home[0] = torch.tensor([-6.0, 6.0])  # where it never was
    new = novelty.update(*steps(home), generator())
    assert float(new[0].mean()) > 10 * float(new[1:].mean())
    assert float(new[1:].mean()) < 0.3  # of the mean of all so far: it falls while it is learned


def test_padding_is_neither_measured_nor_learned_from() -> None:
    met, valid = steps(torch.randn(4, 5, 2, generator=generator(1)))
    valid[:, :, :, 3:] = False
    spoiled = met.masked_fill(~valid[..., None], torch.nan)
    one, other = Novelty(2, generator()), Novelty(2, generator())
    results = [each.update(x, valid, generator()) for each, x in ((one, met), (other, spoiled))]
    assert torch.equal(*results)
    assert not results[0][~valid].any()
    assert all(torch.equal(a, b) for a, b in zip(one.adam.values().values(), other.adam.values().values(), strict=True))


def collected(agent: VariBAD) -> Trajectory:
    agent.train_iteration()
    agent.iteration += 1
    return agent.collect()


def test_a_step_is_paid_for_the_novelty_of_where_it_leads(ragged: Families, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VariBAD, "progress", 0.2)
    agent = VariBAD(ragged("gaussian"), SMALL)
    data = collected(agent)
    twin = Novelty(agent.learner.n_context + agent.learner.inputs.n_observation, generator())
    assert agent.novelty is not None
    twin.load_state_dict(agent.novelty.state_dict())
    weight = 0.5 * (1 - 0.2 / 0.5)
    learned = agent.learned_from(data)
    novelty = twin.update(data.record["features"], data.valid, generator())
    for task in range(data.n_tasks):
        valid = data.valid[task].flatten()
        in_order = novelty[task].flatten()[valid]
        paid = torch.cat([in_order[1:], torch.zeros(1)])  # across episodes, and nothing at the trial's end
        expected = data.reward[task].flatten()[valid] + weight * paid
        torch.testing.assert_close(learned.reward[task].flatten()[valid], expected)


def test_the_bonus_falls_to_nothing_and_beliefs_see_none_of_it(
    ragged: Families, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = VariBAD(ragged("gaussian"), SMALL)
    data = collected(agent)
    assert not torch.equal(agent.learned_from(data).reward[data.valid], data.reward[data.valid])
    monkeypatch.setattr(VariBAD, "progress", 0.5)
    assert torch.equal(agent.learned_from(data).reward, data.reward)
    monkeypatch.setattr(VariBAD, "progress", 0.0)
    agent.update(data, generator())
    kept = agent._buffer.sample(12, generator())
    rewards = {round(float(x), 5) for x in data.reward[data.valid]}
    newest = {round(float(x), 5) for x in kept.reward[kept.valid]}
    assert rewards <= newest
    assert VariBAD(ragged("gaussian"), replace(SMALL, novelty_coef=0.0)).novelty is None


@pytest.mark.parametrize("field", [{"novelty_coef": -1.0}, {"novelty_until": 1.5}])
def test_a_bad_setting_is_refused_by_name(field: dict[str, float]) -> None:
    with pytest.raises(MetaRLError, match=next(iter(field))):
        replace(SMALL, **field)
