"""Recorded episodes: as a rollout would have recorded them, adapted to as the trajectory they are."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, Tuple

from metarl import Episode, MetaRLError
from metarl.agents.pearl import PEARL, PEARLConfig
from metarl.agents.rl2 import RL2, RL2Config
from metarl.core.learner import MetaLearner
from metarl.core.random import stream_keys
from metarl.core.trajectory import Trajectory
from metarl.family import make_family
from metarl.rollout.logged_episodes import recorded_trajectory
from metarl.rollout.rollout import rollout

SEEN, ACTS = Box(-1, 1, (2,), np.float32), Box(0, 4, (1,), np.float32)


def episode(**changes: Any) -> Episode:
    made = Episode(np.arange(8).reshape(4, 2) / 10, np.array([[0.0], [2.0], [4.0]]), [1, 2, 3], [False, False, True])
    return replace(made, **changes)


def log_of(trajectory: Trajectory, scale: Callable[[torch.Tensor], torch.Tensor]) -> list[Episode]:
    """What a robot's computer would have written of the first env."""
    found = []
    for i in range(trajectory.n_episodes):
        n = int(trajectory.lengths[0, 0, i])
        seen = torch.cat([trajectory.observation[0, 0, i, :n], trajectory.final_observation[0, 0, i][None]])
        acted = scale(trajectory.action[0, 0, i, :n])
        found.append(Episode(seen.numpy(), acted.numpy(), trajectory.reward[0, 0, i, :n].tolist()))
    return found


def test_an_episode_is_what_a_rollout_would_have_recorded() -> None:
    short = Episode([[0.5, 0.5], [0.6, 0.6]], [[1.0]], [7.0])
    made = recorded_trajectory([episode(), short], SEEN, ACTS)
    assert made.observation.shape == (1, 1, 2, 3, 2)
    torch.testing.assert_close(made.observation[0, 0, 0, :, 0], torch.tensor([0.0, 0.2, 0.4]))
    torch.testing.assert_close(made.final_observation[0, 0], torch.tensor([[0.6, 0.7], [0.6, 0.6]]))
    assert made.action[0, 0, 0, :, 0].tolist() == [-1, 0, 1]
    assert made.valid[0, 0].tolist() == [[True, True, True], [True, False, False]]
    assert made.terminated[0, 0].tolist() == [[False, False, True], [False, False, False]]
    assert made.truncated[0, 0, 1, 0]
    assert not made.truncated[0, 0, 0].any()
    assert made.returns.tolist() == [[[6, 7]]]


@pytest.mark.parametrize("agent", ["pearl", "rl2"])
def test_adapting_to_a_log_is_adapting_to_the_trajectory(agent: str) -> None:
    family = make_family("metarl/PointNavigation-v0", "pearl")
    made: Any = PEARL(family, PEARLConfig()) if agent == "pearl" else RL2(family, RL2Config(tasks=4))
    learner: MetaLearner = made.learner
    batch = family.batch(family.splits.test[:1], stream_keys(1, 3))
    recorded, _ = rollout(learner, made.params, learner.initial(made.params, 1), batch, n_envs=1, episodes=3)
    log = log_of(recorded, lambda action: action.clamp(-1, 1) * 0.1)
    if agent == "rl2":  # sees what was clipped
        recorded = replace(recorded, action=recorded.action.clamp(-1, 1))
    theirs, mine = made.adapt(recorded), made.adapt(log)
    assert mine.episodes == theirs.episodes == 3
    for name, value in theirs.state.items():
        torch.testing.assert_close(mine.state[name], value)
    others = made.adapt(log[:1])
    assert any(not torch.equal(value, others.state[name]) for name, value in mine.state.items())


def test_what_minari_gives_will_do() -> None:
    like = SimpleNamespace(**vars(episode()), truncations=np.zeros(3, bool), infos={}, id=0)
    ours, theirs = (recorded_trajectory([each], SEEN, ACTS) for each in (episode(), like))
    torch.testing.assert_close(ours.action, theirs.action)
    torch.testing.assert_close(ours.terminated, theirs.terminated)


def test_discrete_and_mixed_actions() -> None:
    chosen = recorded_trajectory([episode(actions=[1, 3, 2])], SEEN, Discrete(3, start=1)).action
    assert chosen.dtype == torch.int64
    assert chosen.flatten().tolist() == [0, 2, 1]
    space = Tuple((Discrete(3), ACTS))
    pair = (np.array([0, 2, 1]), np.array([[0.0], [2.0], [4.0]]))
    rows = np.array([[0, 0], [2, 2], [1, 4]])
    for actions in (pair, rows):
        made = recorded_trajectory([episode(actions=actions)], SEEN, space).action
        assert made[0, 0, 0].tolist() == [[0, -1], [2, 0], [1, 1]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": []}, "Episode 1 has no steps"),
        ({"rewards": [[1], [2], [3]]}, r"rewards have shape \(3, 1\)"),
        ({"observations": np.zeros((3, 2))}, r"\(4, 2\) was expected; one more than there are rewards"),
        ({"observations": np.zeros((4, 3))}, r"\(4, 2\) was expected"),
        ({"actions": np.zeros((2, 1))}, r"actions have shape \(2, 1\), \(3, 1\) was expected"),
        ({"actions": [[1], [2, 3], [4]]}, "no numbers of one shape"),
        ({"rewards": [1, np.nan, 3]}, "rewards hold NaN"),
        ({"terminations": [True, False, True]}, "goes on after it terminated at step 0"),
        ({"terminations": [True]}, r"terminations have shape \(1,\)"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MetaRLError, match=message) as error:
        recorded_trajectory([episode(), episode(**changes)], SEEN, ACTS)
    assert "Episode 1" in str(error.value)


def test_a_choice_that_there_is_not_is_named() -> None:
    for wrong in (5, 0.7):
        with pytest.raises(MetaRLError, match=rf"action {wrong} is none of Discrete\(3\)"):
            recorded_trajectory([episode(actions=[0, wrong, 1])], SEEN, Discrete(3))


def test_nothing_to_adapt_to_is_refused() -> None:
    agent = PEARL("metarl/PointNavigation-v0", PEARLConfig(), variant="pearl")
    with pytest.raises(MetaRLError, match="at least one"):
        agent.adapt([])
