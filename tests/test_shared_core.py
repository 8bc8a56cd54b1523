"""No mechanism is written twice: where a function of the core raises, the agent and its few-shot relation both fail."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from metarl.adapt import gradient, inference
from metarl.adapt.memory import base, recurrent
from metarl.agents.maml import MAML, MAMLConfig
from metarl.agents.pearl import PEARL, PEARLConfig
from metarl.agents.rl2 import RL2, RL2Config
from metarl.fewshot import EpisodeSpec, FewShot, make_dataset, preset_config

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
