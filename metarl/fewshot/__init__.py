"""Supervised few-shot learning on the same core: data sets of tasks, learners that adapt, and two verbs over them."""

from metarl.fewshot.adapted import Classifier, Regressor
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import DataSpec, FewShotDataset
from metarl.fewshot.data.episodes import Classes, Episodes, EpisodeSpec, Support
from metarl.fewshot.data.groups import Groups
from metarl.fewshot.data.own.dataset import dataset_from_table
from metarl.fewshot.data.registry import make_dataset
from metarl.fewshot.estimators import FewShotClassifier, FewShotRegressor
from metarl.fewshot.learners.base import FewShotLearner
from metarl.fewshot.learners.registry import label, preset_config, register_fewshot
from metarl.fewshot.model import FewShot
from metarl.fewshot.scoring import Scores

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
    "Support",
    "dataset_from_table",
    "label",
    "make_dataset",
    "preset_config",
    "register_fewshot",
]
