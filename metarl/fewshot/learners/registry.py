"""Few-shot learners by name, their presets, and how results call them; ``module:Class`` reaches a user's own."""

from typing import Any

from metarl.core.errors import MetaRLError, did_you_mean, shown
from metarl.core.plugins import LEARNERS, declared
from metarl.core.registry import Registry
from metarl.core.schedule import as_long
from metarl.fewshot import learners
from metarl.fewshot.backbone import Backbone, backbone_for
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import DataSpec
from metarl.fewshot.learners.base import DEFAULT, FewShotLearner
from metarl.fewshot.learners.standardised import in_unit_of_training

learners_by_name: Registry[FewShotLearner] = Registry(
    FewShotLearner, "fewshot", LEARNERS, "few-shot learner", package=learners, named=True
)
register_fewshot = learners_by_name.register
"""Return a class decorator that makes a few-shot learner known under a name: ``@register_fewshot("nearest")``."""


def learner_names() -> list[str]:
    """Return the names of all learners: metarl's, those of installed packages, and those registered here."""
    return learners_by_name.names()


def learner_class(learner: str | type[FewShotLearner]) -> type[FewShotLearner]:
    """Return a learner's class by its name or ``module:Class``, or the class itself."""
    if isinstance(learner, str):
        return learners_by_name.find(learner)
    if not (isinstance(learner, type) and issubclass(learner, FewShotLearner)):
        raise MetaRLError(f"{shown(learner)} is no few-shot learner; it must be a subclass of FewShotLearner.")
    return learner


def address_of(learner: type[FewShotLearner]) -> str:
    """Return what files call a learner, so that it is found again: a name that is installed, or ``module:Class``."""
    installed = learner.__module__.startswith(f"{learners.__name__}.") or learner.name in declared(LEARNERS)
    return learner.name if installed else f"{learner.__module__}:{learner.__qualname__}"


def make_learner(
    learner: str | type[FewShotLearner],
    config: FewShotConfig,
    data: DataSpec,
    way: int | None = None,
    backbone: Backbone | None = None,
) -> FewShotLearner:
    """Return a learner for samples of a kind.

    Args:
        learner: its name, ``module:Class``, or class.
        config: of that learner's ``config_class``.
        data: the kind of the samples.
        way: classes to tell apart, training's unless given.
        backbone: one of our own unless given.

    Raises:
        MetaRLError: where the learner cannot predict numbers, or tell so many classes apart.
    """
    cls = learner_class(learner)
    if not isinstance(config, cls.config_class):
        raise MetaRLError(f"{cls.name} has a {cls.config_class.__name__}, not a {type(config).__name__}.")
    if data.outputs is None and not cls.of_classes:
        raise MetaRLError(f"{cls.name} predicts numbers; for classes take prototypical, which pools as it does.")
    if data.outputs is not None and not cls.of_numbers:
        others = [name for name in learner_names() if learner_class(name).of_numbers]
        raise MetaRLError(f"{cls.name} tells classes apart; for numbers take {', '.join(others)}.")
    made_for = config.episode.largest.way
    way = made_for if way is None else way
    if not cls.any_way:
        if way > made_for:
            raise MetaRLError(
                f"{cls.name} was made for {made_for} classes and cannot tell {way} apart; train it with more "
                "(episode.way), or take one that compares, such as prototypical."
            )
        way = made_for
    made = cls.make(config, data, way, backbone or backbone_for(data.shape, config.width, config.strided))
    return in_unit_of_training(made, data)


def preset_config(learner: str | type[FewShotLearner], preset: str = DEFAULT) -> Any:
    """Return the config of a learner, a ``FewShotConfig`` or a subclass, by its preset's name."""
    cls = learner_class(learner)
    if preset not in cls.presets:
        raise MetaRLError(
            f"Learner {cls.name!r} has no preset {preset!r}; choose one of {', '.join(cls.presets)}."
            f"{did_you_mean(preset, cls.presets)}"
        )
    return cls.presets[preset]


def learner_presets_lines(learner: str | type[FewShotLearner]) -> list[str]:
    """Return a line for each preset of a learner: its iterations, how long a seed takes on one core, what it is for."""
    cls = learner_class(learner)
    presets, width = cls.presets, max(map(len, cls.presets))
    return [
        f"{name:{width}} {config.iterations:6,} iterations  {cls.uses.get(name.partition('-')[0], '')}".rstrip()
        for name, config in presets.items()
    ]


def label(learner: str | type[FewShotLearner], config: FewShotConfig) -> str:
    """Return how results call a learner with a config: its name, and the preset's where that is not the default.

    The number of iterations decides between presets that are otherwise the same, and has no further part in it.
    """
    cls = learner_class(learner)
    same = [name for name, known in cls.presets.items() if as_long(known, config) == config]
    if not same:
        return f"{cls.name}-custom"
    name = next((name for name in same if cls.presets[name] == config), same[0])
    return cls.name if name == DEFAULT else f"{cls.name}-{name}"
