"""Supervised few-shot learning on the same core: data sets of tasks, learners that adapt, and two verbs over them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from metarl.fewshot.adapted import Classifier, Regressor
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import DataSpec, FewShotDataset
from metarl.fewshot.data.episodes import Classes, Episodes, EpisodeSpec, Support
from metarl.fewshot.data.groups import Groups
from metarl.fewshot.learners.base import FewShotLearner
from metarl.fewshot.learners.registry import label, preset_config, register_fewshot
from metarl.fewshot.model import FewShot
from metarl.fewshot.scoring import Scores

if TYPE_CHECKING:  # the same names as in _LAZY, for type checkers and editors
    from metarl.fewshot.data.own.dataset import dataset_from_table
    from metarl.fewshot.data.ratings import rating_dataset
    from metarl.fewshot.data.registry import make_dataset
    from metarl.fewshot.estimators import FewShotClassifier, FewShotRegressor
    from metarl.fewshot.super_learner.estimator import SuperLearner, strategies

# Imported when they are asked for: reading people's files and scikit-learn take a second and more.
_LAZY = {
    "FewShotClassifier": "estimators",
    "FewShotRegressor": "estimators",
    "SuperLearner": "super_learner.estimator",
    "dataset_from_table": "data.own.dataset",
    "make_dataset": "data.registry",
    "rating_dataset": "data.ratings",
    "strategies": "super_learner.estimator",
}
__all__ = [
    "Classes",
    "Classifier",
    "DataSpec",
    "EpisodeSpec",
    "Episodes",
    "FewShot",
    "FewShotClassifier",
    "FewShotConfig",
    "FewShotDataset",
    "FewShotLearner",
    "FewShotRegressor",
    "Groups",
    "Regressor",
    "Scores",
    "SuperLearner",
    "Support",
    "dataset_from_table",
    "label",
    "make_dataset",
    "preset_config",
    "rating_dataset",
    "register_fewshot",
    "strategies",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'metarl.fewshot' has no attribute {name!r}")
    return getattr(import_module(f"metarl.fewshot.{_LAZY[name]}"), name)
