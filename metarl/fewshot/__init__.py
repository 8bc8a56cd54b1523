"""Supervised few-shot learning on the same core: sources of tasks, learners that adapt, and two verbs over them."""

from metarl.fewshot.adapted import Classifier, Regressor
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import Kind, Source, make_source
from metarl.fewshot.data.episodes import Classes, Shape
from metarl.fewshot.model import FewShot
from metarl.fewshot.presets import recipe
from metarl.fewshot.scoring import Scores

__all__ = [
    "Classes",
    "Classifier",
    "FewShot",
    "FewShotConfig",
    "Kind",
    "Regressor",
    "Scores",
    "Shape",
    "Source",
    "make_source",
    "recipe",
]
