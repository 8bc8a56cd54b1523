"""Supervised few-shot learning on the same core: sources of tasks, learners that adapt, and two verbs over them."""

from metarl.fewshot.config import FewShotConfig, recipe
from metarl.fewshot.episodes import Classes, Shape
from metarl.fewshot.model import Classifier, FewShot
from metarl.fewshot.sources import Source, make_source

__all__ = ["Classes", "Classifier", "FewShot", "FewShotConfig", "Shape", "Source", "make_source", "recipe"]
