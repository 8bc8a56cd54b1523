"""No mechanism is written twice: where a function of the core raises, the agent and its few-shot relation both fail."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB

from metarl.adapt import gradient, inference, selection
from metarl.adapt.memory import base, recurrent
from metarl.agents.maml import MAML, MAMLConfig
from metarl.agents.pearl import PEARL, PEARLConfig
from metarl.agents.rl2 import RL2, RL2Config
from metarl.algorithm.policy_selection import select_policy
from metarl.fewshot import (
    DataSpec,
    EpisodeSpec,
    FewShot,
    FewShotClassifier,
    SuperLearner,
    make_dataset,
    preset_config,
)

POINT = "metarl/PointNavigation-v0"
PAIRS: dict[str, tuple[tuple[Any, Any, Any], str]] = {
    "gradient": ((MAML, MAMLConfig(tasks=2, episodes=2, hidden=(4,), epochs=1), "pearl"), "maml"),
    "memory": ((RL2, RL2Config(tasks=4, width=4, memory="lstm", epochs=1, minibatches=1), "pearl"), "mann"),
    "inference": (
        (
            PEARL,
            PEARLConfig(train_tasks=2, tasks=2, meta_batch=2, updates=2, batch=4, encoder=(4,), hidden=(4,), latent=2),
            "pearl",
        ),
        "prototypical",
    ),
}
MECHANISMS = [
    ("gradient", gradient.InnerLoop, "adapted"),
    ("gradient", gradient.InnerLoop, "start"),
    ("gradient", gradient.InnerLoop, "step"),
    ("gradient", gradient, "meta_gradient"),
    ("gradient", gradient, "chunks"),
    ("memory", base.Memory, "sequence"),
    ("memory", recurrent.GRU, "init"),
    ("memory", recurrent.GRU, "initial"),
    ("memory", recurrent.GRU, "_weights"),
    ("memory", recurrent.LSTM, "init"),
    ("memory", recurrent.LSTM, "initial"),
    ("memory", recurrent.LSTM, "step"),
    ("inference", inference.Pool, "__init__"),
    ("inference", inference.Pool, "initial"),
    ("inference", inference.Pool, "add"),
]


def broken(*_: Any, **__: Any) -> None:
    raise RuntimeError("the core's mechanism")


def train_agent(kind: str) -> None:
    agent, config, variant = PAIRS[kind][0]
    agent(POINT, replace(config, total_timesteps=1), variant=variant).learn()


def train_few_shot(kind: str) -> None:
    dataset = make_dataset("strokes")
    config = replace(
        preset_config(PAIRS[kind][1]), width=4, tasks=2, strided=True, episode=EpisodeSpec(3, 1, 1), iterations=1
    )
    FewShot(PAIRS[kind][1], dataset, config).fit(dataset)


@pytest.mark.parametrize("kind", PAIRS)
def test_both_of_a_pair_train(kind: str) -> None:
    train_agent(kind)
    train_few_shot(kind)


@pytest.mark.parametrize(("kind", "owner", "name"), MECHANISMS, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("train", [train_agent, train_few_shot])
def test_where_the_core_raises_both_of_a_pair_fail(
    kind: str, owner: Any, name: str, train: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(owner, type):
        monkeypatch.setattr(owner, name, broken)
    else:  # its code rather than its name, which modules have imported
        monkeypatch.setattr(getattr(owner, name), "__code__", broken.__code__)
    with pytest.raises(RuntimeError, match="the core's mechanism"):
        train(kind)


def choose_a_policy() -> None:
    select_policy([MAML(POINT, PAIRS["gradient"][0][1]).policy()], gymnasium.make(POINT), episodes=1)


def choose_a_learner() -> None:
    config = replace(preset_config("maml"), episode=EpisodeSpec(2, 1, 1), width=4)
    members = [FewShotClassifier(model=FewShot("maml", DataSpec((3,), 2), config)), GaussianNB()]
    SuperLearner(members, "select").fit(np.eye(6, 3), [0, 1] * 3)


def test_where_the_choice_raises_both_super_learners_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = choose_a_policy, choose_a_learner
    for choose in chosen:
        choose()
    monkeypatch.setattr(selection.selected, "__code__", broken.__code__)
    for choose in chosen:
        with pytest.raises(RuntimeError, match="the core's mechanism"):
            choose()


@pytest.mark.parametrize("name", ["start", "step"])
def test_where_a_mechanism_raises_a_super_learner_over_it_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient.InnerLoop, name, broken)
    with pytest.raises(RuntimeError, match="the core's mechanism"):
        choose_a_learner()
