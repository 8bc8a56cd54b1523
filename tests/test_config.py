"""Every configuration refuses what it cannot use where it is made, and says what it may be."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from metarl.agents.baselines.finetune import FineTuneConfig
from metarl.agents.baselines.sb3_config import PPOConfig, SACConfig, SB3Config
from metarl.agents.maml.config import MAMLConfig
from metarl.agents.pearl.config import PEARLConfig
from metarl.agents.rl2.config import RL2Config
from metarl.agents.varibad.config import VariBADConfig
from metarl.core.errors import MetaRLError
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.learners.finetuning import CosineConfig
from metarl.fewshot.learners.gradient import GradientConfig
from metarl.fewshot.learners.memory import MANNConfig, SNAILLearnerConfig

CONFIGS = [
    *(MAMLConfig, FineTuneConfig, RL2Config, VariBADConfig, PEARLConfig, SB3Config, PPOConfig, SACConfig),
    *(FewShotConfig, GradientConfig, MANNConfig, SNAILLearnerConfig, CosineConfig, EpisodeSpec),
]
NO_FIELDS_VALUE: list[Any] = [{}, object(), (None,), b"1", float("nan"), float("inf"), 10**5000, -(10**30), [["a"]]]


@pytest.mark.parametrize("kind", CONFIGS, ids=lambda kind: kind.__name__)
def test_every_field_refuses_what_is_of_another_type(kind: Any) -> None:
    for field in fields(kind):
        given = getattr(kind(), field.name)
        others = [] if isinstance(given, str) or field.name in ("dense_reward", "ent_coef", "backbone") else ["two"]
        others += [] if isinstance(given, bool) else [True]
        others += [32] if isinstance(given, tuple) else [1.5] if isinstance(given, int) else []
        for wrong in [*NO_FIELDS_VALUE, *others]:
            with pytest.raises(MetaRLError, match=rf"^{kind.__name__}\({field.name}=.*{field.name} must be ") as raised:
                kind(**{field.name: wrong})
            assert "\n" not in str(raised.value)
            assert len(str(raised.value)) < 400


def test_a_message_says_what_is_allowed() -> None:
    with pytest.raises(MetaRLError) as raised:
        MAMLConfig(hidden=32, tasks=0.5)  # type: ignore[arg-type]  # on purpose
    assert str(raised.value) == (
        "MAMLConfig(tasks=0.5, hidden=32) is out of range: tasks must be an integer, at least 1; "
        "hidden must be a tuple of integers, each at least 1."
    )
    with pytest.raises(MetaRLError, match=r"\(gamma=2.0\).*gamma must be a finite number, above 0 and at most 1\.$"):
        MAMLConfig(gamma=2.0)
    with pytest.raises(MetaRLError, match=r"outer must be 'ppo' or 'trpo'\.$"):
        MAMLConfig(outer="sac")  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    "wrong",
    [
        *({"step_sizes": sizes} for sizes in ((), (0.1, 0.0), (-0.1,), (float("nan"),))),
        *({"choice_tasks": 0}, {"choice_points": 1}, {"inner_steps": 2}),
    ],
    ids=str,
)
def test_what_is_only_used_after_the_training_is_checked_before_it(wrong: dict[str, Any]) -> None:
    ((name, _),) = wrong.items()
    with pytest.raises(MetaRLError, match=rf"FineTuneConfig\({name}=.*{name} must be"):
        FineTuneConfig(**wrong)


def test_lists_and_numpys_numbers_are_taken_as_pythons_own() -> None:
    given: Any = {"hidden": [np.int64(8), 4], "tasks": np.int32(3), "gamma": np.float32(0.5)}
    config = MAMLConfig(**given)
    assert config == replace(MAMLConfig(), hidden=(8, 4), tasks=3, gamma=0.5)
    assert [type(value) for value in (config.tasks, config.gamma, *config.hidden)] == [int, float, int, int]
