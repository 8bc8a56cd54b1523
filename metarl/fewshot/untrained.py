"""Learners that need no training: heads on features as they are given."""

from dataclasses import replace

from metarl.core.errors import MetaRLError
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import DataSpec
from metarl.fewshot.learners.base import FewShotLearner
from metarl.fewshot.learners.heads.base import AsGiven
from metarl.fewshot.learners.registry import learner_class, preset_config
from metarl.fewshot.model import FewShot


def untrained(
    learner: str | type[FewShotLearner],
    spec: DataSpec,
    config: FewShotConfig | None = None,
    seed: int = 0,
) -> FewShot:
    """Return a model before training.

    Args:
        learner: its name or class.
        spec: of the samples; ``classes`` are those that it will have to tell apart.
        config: of the learner; its default preset's unless given.
        seed: of initial parameters.

    Raises:
        MetaRLError: where an untrained learner would go by random features.
    """
    model = FewShot(learner, spec, config_for(learner, spec, config), seed=seed)
    if not isinstance(model.learner.backbone, AsGiven):
        raise MetaRLError(
            f"{model.learner_class.name} has to be trained before it is of use; untrained take "
            f"{'ridge, feature-map, gp or logistic' if spec.outputs is None else 'gp-regression'}, which go by the "
            "features as they are, or give a trained model."
        )
    return model


def config_for(
    learner: str | type[FewShotLearner], spec: DataSpec, config: FewShotConfig | None = None
) -> FewShotConfig:
    """Return a config, or the default preset's, with the ways of ``spec`` where the learner is made for a number."""
    config = config or preset_config(learner)
    if spec.outputs is None and not learner_class(learner).any_way:
        config = replace(config, episode=replace(config.episode, way=max(2, spec.classes), most_way=None))
    return config
