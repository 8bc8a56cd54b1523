"""Supervised few-shot learning on the same core: data sets of tasks, learners that adapt, and two verbs over them."""

from metarl.fewshot.adapted import Classifier, Regressor
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import DataSpec, FewShotDataset, make_dataset
from metarl.fewshot.data.episodes import Classes, EpisodeSpec
from metarl.fewshot.model import FewShot
from metarl.fewshot.presets import preset_config
from metarl.fewshot.scoring import Scores

__all__ = [
    "Classes",
    "Classifier",
    "DataSpec",
    "EpisodeSpec",
    "FewShot",
    "FewShotConfig",
    "FewShotDataset",
    "Regressor",
    "Scores",
    "make_dataset",
    "preset_config",
]
