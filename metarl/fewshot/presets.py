"""The presets of each few-shot learner: its settings for characters and functions, few minutes, and a GPU."""

from dataclasses import replace
from typing import Any

from metarl.core.errors import MetaRLError
from metarl.fewshot.config import LEARNERS, FewShotConfig, used
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.learners.finetuning import FineTuningConfig
from metarl.fewshot.learners.gradient import GradientConfig
from metarl.fewshot.learners.memory import MemoryLearnerConfig

DEFAULT = "default"

# 20 ways in training: harder than what is asked, as Snell et al. 2017 found to help; they have 60.
_METRIC = FewShotConfig()
# Small batches and long strides: after 5 minutes of a core on Omniglot 8 tasks at 2e-3 were at 92.2%, at 1e-3 at 90.8,
# and 16 tasks at 3e-3 were slower than both. The literature has 32 at 1e-3 and 60,000 iterations.
_GRADIENT = FewShotConfig(
    learner="maml",
    iterations=6000,
    tasks=8,
    episode=EpisodeSpec(way=5, shot=1, queries=5),
    strided=True,
    learning_rate=2e-3,
)
# With 32 channels they see twice as many tasks in a second: 86% against 65 after 24 seconds of strokes.
_NARROW = replace(_GRADIENT, width=32, learning_rate=3e-3)
_PRETRAINED = replace(_METRIC, strided=True, learning_rate=3e-3)
_COMPARING = ("prototypical", "matching", "matching-fce", "relation", "siamese")
_CHARACTERS: dict[str, FewShotConfig] = {
    **{name: replace(_METRIC, learner=name) for name in _COMPARING},
    "maml": _GRADIENT,
    "fomaml": replace(_GRADIENT, learner="fomaml", gradient=GradientConfig(first_order=True)),
    "meta-sgd": replace(_GRADIENT, learner="meta-sgd", gradient=GradientConfig(learn_step_sizes=True, test_steps=1)),
    "anil": replace(_GRADIENT, learner="anil", gradient=GradientConfig(adapts="head")),
    "reptile": replace(
        _GRADIENT,
        learner="reptile",
        tasks=5,
        episode=EpisodeSpec(way=5, shot=5, queries=1),
        gradient=GradientConfig(steps=5, test_steps=20, step_size=0.05, first_order=True),
    ),
    "meta-lstm": replace(
        _NARROW,
        learner="meta-lstm",
        tasks=4,
        gradient=GradientConfig(steps=2, test_steps=2, step_size=0.4, first_order=True),
    ),
    "finetune-linear": replace(_PRETRAINED, learner="finetune-linear"),
    "finetune-cosine": replace(
        _PRETRAINED, learner="finetune-cosine", tuning=FineTuningConfig(head="cosine", step_size=0.1)
    ),
    "finetune-whole": replace(
        _PRETRAINED, learner="finetune-whole", tuning=FineTuningConfig(adapts="all", steps=15, step_size=0.01)
    ),
    "mann": replace(
        _NARROW,
        learner="mann",
        memory=MemoryLearnerConfig(memory="external", memory_options=("reads=1",), width=128, capacity=6),
    ),
    "snail": replace(
        _NARROW,
        learner="snail",
        memory=MemoryLearnerConfig(memory="snail", memory_options=("layers=1",), width=64, capacity=32),
    ),
}
# As many iterations as one core of an AMD EPYC does in four minutes, so that learners can be compared.
_SHORT: dict[str, int] = {
    "prototypical": 1450,
    "matching": 1400,
    "matching-fce": 1250,
    "relation": 1450,
    "siamese": 1100,
    "maml": 1250,
    "fomaml": 1850,
    "meta-sgd": 1300,
    "anil": 2450,
    "reptile": 750,
    "meta-lstm": 1600,
    "finetune-linear": 3600,
    "finetune-cosine": 3600,
    "finetune-whole": 3600,
    "mann": 4400,
    "snail": 4000,
}


def _sinusoid(learner: str, gradient: GradientConfig, **more: Any) -> FewShotConfig:
    """Finn et al. 2017, section 5.1: hidden layers of 40, batches of 25 tasks of 10 points."""
    made: dict[str, Any] = {
        "iterations": 60_000,
        "tasks": 25,
        "episode": EpisodeSpec(way=1, shot=10, queries=10),
        "width": 40,
        **more,
    }
    return FewShotConfig(learner=learner, gradient=gradient, **made)


# The loss after every step counts, so that few steps and many are good alike: trained for one, as Finn et al. have it,
# many make it worse where there are 5 points.
_STEPS = GradientConfig(steps=3, step_size=0.005, each_step=True)
# The literature's budgets: Finn et al. 2017, appendix A.1, and Snell et al. 2017, section 3.1.
_PAPER_MAML = replace(_GRADIENT, iterations=60_000, tasks=32, learning_rate=1e-3)
_PAPER_METRIC = replace(_METRIC, iterations=20_000, episode=EpisodeSpec(way=60, shot=1, queries=5))
_LONG = ("matching", "relation", "siamese", "fomaml", "meta-sgd", "anil", "reptile", "snail", "mann")
_MORE: dict[str, dict[str, FewShotConfig]] = {
    "maml": {
        "sinusoid": _sinusoid("maml", _STEPS),
        "paper": _PAPER_MAML,
        "paper-5-shot": replace(_PAPER_MAML, episode=EpisodeSpec(way=5, shot=5, queries=5)),
        "paper-20-way": replace(
            _PAPER_MAML,
            tasks=16,
            episode=EpisodeSpec(way=20, shot=1, queries=5),
            gradient=GradientConfig(steps=5, step_size=0.1),
        ),
    },
    # One step, as the paper has it: with step sizes so large further ones lead away. Without a bound on the gradient
    # training breaks down after some thousand iterations.
    "meta-sgd": {
        "sinusoid": _sinusoid(
            "meta-sgd",
            GradientConfig(steps=1, test_steps=1, step_size=0.005, learn_step_sizes=True),
            iterations=30_000,
            max_norm=1.0,
        )
    },
    "prototypical": {
        "paper": _PAPER_METRIC,
        "paper-5-shot": replace(_PAPER_METRIC, episode=EpisodeSpec(way=60, shot=5, queries=5)),
    },
}

PRESETS: dict[str, dict[str, FewShotConfig]] = {
    **{
        name: {
            DEFAULT: default,
            **({"short": replace(default, iterations=_SHORT[name])} if name in _SHORT else {}),
            **({"paper": replace(default, iterations=60_000)} if name in _LONG else {}),
            **_MORE.get(name, {}),
        }
        for name, default in _CHARACTERS.items()
    },
    "neural-process": {DEFAULT: _sinusoid("neural-process", GradientConfig(), iterations=30_000, width=128)},
}
assert set(PRESETS) == set(LEARNERS)


def preset_config(learner: str, preset: str = DEFAULT) -> FewShotConfig:
    """The config of a learner by its name and its preset's."""
    if learner not in PRESETS:
        raise MetaRLError(f"Learner {learner!r} is unknown; known are {', '.join(PRESETS)}.")
    presets = PRESETS[learner]
    if preset not in presets:
        raise MetaRLError(f"Learner {learner!r} has no preset {preset!r}; choose one of {', '.join(presets)}.")
    return presets[preset]


def label(config: FewShotConfig) -> str:
    """How results call a learner with this config: its name, and the preset's where that is not the default.

    The number of iterations decides between presets that are otherwise the same, and has no further part in it.
    """
    config, presets = used(config), PRESETS[config.learner]
    same = [name for name, known in presets.items() if replace(used(known), iterations=config.iterations) == config]
    if not same:
        return f"{config.learner}-custom"
    name = next((name for name in same if used(presets[name]) == config), same[0])
    return config.learner if name == DEFAULT else f"{config.learner}-{name}"
