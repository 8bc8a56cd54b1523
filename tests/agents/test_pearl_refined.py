"""PEARL whose z follows the posterior while an episode lasts: by hand, its contexts, and what it learns by it."""

from collections.abc import Callable
from dataclasses import replace

import gymnasium
import pytest
import torch
from torch import Tensor

from metarl.adapt.inference import TOTAL
from metarl.agents.pearl import PEARL, PEARLConfig
from metarl.agents.pearl.learner import EPISODES, Z
from metarl.agents.pearl.replay import ContextReplay
from metarl.core.random import Domain, stream_keys
from metarl.envs.engine.torch import TorchFamily
from metarl.evaluation.driver import adaptation_curve
from metarl.rollout.rollout import rollout
from metarl.rollout.streams import noise_stream

Families = Callable[[str], TorchFamily]
REFINED = PEARLConfig(
    refine_every=2,
    train_tasks=6,
    tasks=3,
    prior_episodes=1,
    posterior_episodes=2,
    latent=2,
    encoder=(5,),
    hidden=(6,),
    updates=3,
    meta_batch=4,
    batch=5,
)


@pytest.mark.parametrize("changes", [{}, {"next_observation": True}, {"pooling": "attention"}])
def test_z_follows_the_posterior_of_all_steps_so_far(ragged: Families, changes: dict[str, object]) -> None:
    """In two episodes of different lengths: what is acted on at each step is drawn by the episode's own noise."""
    agent = PEARL(ragged("gaussian"), replace(REFINED, **changes))  # type: ignore[arg-type]
    learner, params, keys = agent.learner, agent.params, stream_keys(4, "refined")
    batch = agent.family.batch(agent.family.splits.train(keys), keys)
    data, after = rollout(learner, params, learner.initial(params, 4), batch, n_envs=1, episodes=2)
    assert after[EPISODES].tolist() == [2] * 4
    noises = noise_stream(learner.episode_noise, keys, Domain.EPISODE, 1)
    moved = 0
    for task in range(4):
        seen = torch.zeros(0, learner.n_element)
        for episode, length in enumerate(data.lengths[task, 0].tolist()):
            noise, elements = noises.at(episode, 0)[task], learner.elements(data)[task, 0, episode, :length]
            mean, variance = learner.infer(params, seen[None], torch.ones(1, len(seen), dtype=torch.bool))
            z = mean[0] + variance[0].sqrt() * noise if episode else noise
            for step in range(length):
                if step and step % 2 == 0:
                    so_far = torch.cat([seen, elements[:step]])
                    mean, variance = learner.infer(params, so_far[None], torch.ones(1, len(so_far), dtype=torch.bool))
                    z, moved = mean[0] + variance[0].sqrt() * noise, moved + 1
                outputs = learner.policy(params, {Z: z[None]}, data.observation[task : task + 1, :, episode, step])
                wanted = learner.distribution(outputs).sample(
                    noise_stream(learner.action_noise, keys, Domain.ACTION, agent.family.horizon)
                    .at(episode, step)
                    .unflatten(0, (4, 1))[task : task + 1]
                )
                torch.testing.assert_close(data.action[task, 0, episode, step], wanted[0, 0], rtol=1e-4, atol=1e-5)
            seen = torch.cat([seen, elements])
    assert moved > 4
    whole = learner.adapt(params, learner.initial(params, 4), data)
    torch.testing.assert_close(after[TOTAL], whole[TOTAL], rtol=1e-4, atol=1e-4)
    assert whole[EPISODES].tolist() == [2] * 4


def test_contexts_end_within_an_episode_as_they_do_at_test() -> None:
    contexts = ContextReplay(1, 1, 2, 5, 1, torch.device("cpu"))
    valid = torch.tensor([[[True] * 5, [True] * 3 + [False] * 2]])
    contexts.add(torch.tensor([0]), torch.arange(10.0).reshape(1, 2, 5, 1), valid)
    generator, counts = torch.Generator().manual_seed(0), dict.fromkeys((2, 4, 5, 7, 8), 0)
    for _ in range(300):
        elements, member = contexts.first_episodes(torch.tensor([0]), 2, generator, 2)
        shown = elements[0, member[0], 0].int().tolist()
        assert shown == list(range(len(shown)))
        counts[len(shown)] += 1
    assert all(count > 30 for count in counts.values()), counts


def test_contexts_of_transitions_hold_as_few_as_they_may_at_test(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(REFINED, refine_every=4, context="transitions", context_size=30)
    agent = PEARL("metarl/PointNavigation-v0", config, variant="pearl")
    sizes, drawn = list[int](), ContextReplay.transitions

    def counted(self: ContextReplay, tasks: Tensor, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        sizes.append(n)
        return drawn(self, tasks, n, generator)

    monkeypatch.setattr(ContextReplay, "transitions", counted)
    agent.learn(3000)
    assert set(sizes) == {4, 8, 12, 16, 20, 24, 28, 30}


def test_it_learns_to_turn_round_within_an_episode(
    learns: Callable[..., None], sides: TorchFamily, of_sides: PEARLConfig
) -> None:
    """It goes to a side by chance, and after a step or two knows which is paid."""
    config = replace(of_sides, refine_every=1)

    def score(seed: int) -> dict[str, float]:
        agent = PEARL(sides, config, seed=seed).learn()
        tasks = agent.family.splits.test[torch.arange(40).numpy() % 2]
        curve = adaptation_curve(agent.learner, agent.params, agent.family, tasks, points=2)
        kept = adaptation_curve(PEARL(sides, of_sides).learner, agent.params, agent.family, tasks, points=1)
        first, second = curve.returns.mean(1)
        return {"first": float(first), "gain": float(first - kept.returns.mean()), "second": float(second)}

    # Of 3 where the side is known from the start, and 1 where it is found after a step in the wrong direction.
    learns(score, above={"first": 0.8, "gain": 0.7, "second": 2.0})


def test_a_policy_that_is_stepped_by_hand_takes_in_what_it_is_told() -> None:
    config = replace(REFINED, refine_every=1)
    agent = PEARL("metarl/PointNavigation-v0", config, variant="pearl")
    env = gymnasium.make("metarl/PointNavigation-v0", variant="pearl", task={"goal": (0.6, -0.3)})
    policy = agent.adapt(env, episodes=2)
    assert policy.state[EPISODES].tolist() == [2]
    observation, _ = env.reset(seed=0)
    action, state = policy.predict(observation)
    assert state is not None
    before = state[Z].clone()
    observation, reward, *_ = env.step(action)
    _, state = policy.predict(observation, state, reward=float(reward))
    assert state is not None
    assert not torch.equal(state[Z], before)
    known = agent.learner.posterior(policy.params, policy.state)[1]
    assert (agent.learner.posterior(policy.params, state)[1] < known).all()
    assert state[EPISODES].tolist() == [3]


@pytest.mark.parametrize("episodes", [1, 2])
def test_stepped_by_hand_it_counts_the_episodes_that_it_plays(episodes: int) -> None:
    """The end of an episode is taken in with the observation that it led to, which begins the next one once more."""
    agent = PEARL("metarl/PointNavigation-v0", replace(REFINED, prior_episodes=2), variant="pearl")
    env = gymnasium.make("metarl/PointNavigation-v0", variant="pearl", task={"goal": (0.6, -0.3)})
    policy, state, reward = agent.policy(), None, None
    for number in range(episodes):
        observation, _ = env.reset(seed=number)
        over, start = False, True
        while not over:
            action, state = policy.predict(observation, state, start, reward=reward)
            observation, earned, terminated, truncated, _ = env.step(action)
            reward, start, over = float(earned), False, terminated or truncated
        _, state = policy.predict(observation, state, episode_start=True, reward=reward)
        reward = None
    assert state is not None
    assert state[EPISODES].tolist() == [episodes]
