"""Our agents in Meta-World's own evaluator: its figures are those of our protocol."""

from typing import Any, ClassVar

import numpy as np
import pytest

from metarl import MAML, RL2
from metarl.core.errors import MetaRLError
from metarl.evaluation.meta_learning_agent import MetaLearningAgent
from metarl.evaluation.protocol import play_protocol
from metarl.tasks import Tasks

pytest.importorskip("metaworld", reason="installed apart: pip install --no-deps metaworld==3.1.1")

from metarl.envs.metaworld.benchmarks import SEED, Benchmark
from metarl.envs.metaworld.families import MetaWorldFamily
from metarl.envs.metaworld.package import metaworld

STEPS, ADAPTATION = 25, 4


class Reach(MetaWorldFamily):
    """ML1 of reach-v3 in short episodes."""

    split = Benchmark(env="reach-v3")
    horizon = STEPS
    presets: ClassVar[dict[str, Any]] = {}


def agent(cls: Any, **settings: Any) -> Any:
    return cls(Reach(), cls.config_class(tasks=2, **settings), seed=0)


@pytest.mark.parametrize(
    ("cls", "settings"),
    [(MAML, {"episodes": 2}), (RL2, {"episodes": 2, "minibatches": 2, "normalise_observations": True})],
)
def test_metaworlds_evaluator_gets_our_figures(cls: Any, settings: dict[str, Any]) -> None:
    from metaworld.evaluation import metalearning_evaluation

    ours = agent(cls, **settings)
    # Reached in a few steps where the radius is large, so that success is no matter of course and none of nothing.
    envs = metaworld().make_ml_envs(
        "reach-v3", seed=SEED, meta_batch_size=1, split="test", task_select="pseudorandom", max_episode_steps=STEPS
    )
    theirs = MetaLearningAgent(ours, envs, ADAPTATION)
    success, returned, by_env = metalearning_evaluation(
        theirs, theirs.envs, num_evals=1, adaptation_episodes=ADAPTATION, evaluation_episodes=3
    )
    drawn = np.array(envs.get_attr("_last_rand_vec"))
    tests = ours.family.splits.test.vector
    tasks = Tasks({"task": tests[[int(np.flatnonzero((tests[:, 1:] == row).all(1))[0]) for row in drawn]]})
    own_success, own_returns = play_protocol(ours, tasks, adaptation=ADAPTATION)
    assert success == own_success.mean() == by_env["reach-v3"]
    assert returned == pytest.approx(own_returns.mean(), rel=1e-6)
    envs.close()


def test_episodes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(MetaRLError, match="adapts to 3 episodes at a time, which does not divide 10"):
        play_protocol(agent(MAML, episodes=3), Reach().splits.test[:1])


def test_a_family_without_success_is_refused() -> None:
    from metarl import make_family

    family = make_family("metarl/PointNavigation-v0")
    maml = MAML(family, MAML.config_class(tasks=2, episodes=2), seed=0)
    with pytest.raises(MetaRLError, match="tells no success"):
        play_protocol(maml, family.splits.test[:2], adaptation=2)
