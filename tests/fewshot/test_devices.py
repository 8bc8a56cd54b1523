"""Learners keep to the device of what they are given: seen without a GPU on torch's meta device.

There every operation between tensors of two devices raises, as it would on a GPU, and so does whatever reads a number.
"""

from dataclasses import replace

import pytest
import torch

from metarl.core.types import Params
from metarl.fewshot.data.episodes import Episodes, EpisodeSpec, Support
from metarl.fewshot.data.registry import make_dataset
from metarl.fewshot.learners.base import FewShotLearner
from metarl.fewshot.learners.metric import Prototypical
from metarl.fewshot.learners.registry import learner_class, learner_names, make_learner, preset_config

OF_NUMBERS = [name for name in learner_names() if learner_class(name).of_numbers]


def on_meta(episodes: Episodes) -> Episodes:
    support, query = (Support(*(x.to("meta") for x in part)) for part in episodes[:2])
    return Episodes(support, query, *(None if x is None else x.to("meta") for x in episodes[2:]))


def check(learner: FewShotLearner, params: Params, episodes: Episodes) -> None:
    """Training's gradient, and adapting and predicting as scores do."""
    leaves = {name: value.to("meta").requires_grad_() for name, value in params.items()}
    losses, logged = learner.loss(leaves, episodes)
    gradients = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True)
    assert {value.device.type for value in (losses, *logged.values())} == {"meta"}
    assert any(value is not None for value in gradients)
    assert {value.device.type for value in gradients if value is not None} == {"meta"}
    with torch.no_grad():
        for _, state in learner.points(leaves, episodes.support):
            outputs = learner.query(leaves, state, episodes.query.inputs)
            assert {value.device.type for value in outputs.values()} == {"meta"}
    if isinstance(learner, Prototypical):
        state = learner.refine(leaves, state, episodes.query.inputs)
        assert {value.device.type for value in state.values()} == {"meta"}


@pytest.mark.parametrize("name", [name for name in learner_names() if learner_class(name).of_classes])
def test_a_learner_of_classes_keeps_to_its_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "snail":  # attention asks how much there was before: once for a sequence, and once for a support
        for read, answer in (("__int__", 0), ("__bool__", True)):
            real = getattr(torch.Tensor, read)
            monkeypatch.setattr(
                torch.Tensor, read, lambda x, real=real, answer=answer: answer if x.is_meta else real(x)
            )
    dataset = make_dataset("strokes")
    config = replace(preset_config(name), width=8, episode=EpisodeSpec(5, 1, 2))
    learner = make_learner(name, config, dataset.spec)
    episodes = dataset.split("train").draw(config.episode, 2, torch.Generator().manual_seed(0))
    check(learner, learner.init(torch.Generator()), on_meta(episodes))


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_a_learner_of_functions_keeps_to_its_device(name: str) -> None:
    dataset = make_dataset("sinusoid")
    config = replace(preset_config(name), width=8, episode=EpisodeSpec(1, 5, 5))
    learner = make_learner(name, config, dataset.spec)
    episodes = dataset.split("train").draw(config.episode, 2, torch.Generator().manual_seed(0))
    check(learner, learner.init(torch.Generator()), on_meta(episodes))
