"""Options of ``metarl fewshot``, from which tyro makes the command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from metarl.cli.options import Name, RunOptions, RunPath
from metarl.fewshot.data.episodes import EpisodeSpec


@dataclass(frozen=True, kw_only=True)
class TrainOptions(RunOptions):
    """Train a few-shot learner on a data set of tasks."""

    learner: Name
    """prototypical, maml, ..., or module:Class: an unknown one is answered with the list"""
    data: str = "strokes"
    """strokes, which needs no file, omniglot, ..., folder:PATH of your own images, or module:Name"""


@dataclass(frozen=True, kw_only=True)
class _Setting:
    learner: str | None = None
    """module:Class of your own learner, where the run trained one: no module is imported that is not named"""
    data: str | None = None
    """module:Name of your own data set, likewise"""
    backbone: str | None = None
    """module:Class of your own backbone, likewise"""
    way: int | None = None
    """classes of an episode; 5 unless given"""
    shot: int | None = None
    """labelled samples of each; 1 unless given, of functions 10"""
    queries: int | None = None
    """samples of each to predict; 15 unless given, of functions 100"""
    unlabelled: int = 0
    """further samples of each, with which learners that have prototypes refine them"""
    transductive: bool = False
    """refine prototypes with the queries themselves"""
    episodes: int = 1000
    split: str = "test"
    """test or val"""
    device: str = "cpu"
    threads: int = 1
    json: bool = False
    """print the table's rows as JSON"""

    def shape(self, *, functions: bool) -> EpisodeSpec:
        """Of the scored episodes."""
        usual = (1, 10, 100) if functions else (5, 1, 15)  # Finn et al. score functions on 100 points
        given = (self.way, self.shot, self.queries)
        way, shot, queries = (other if mine is None else mine for mine, other in zip(given, usual, strict=True))
        return EpisodeSpec(way, shot, queries, self.unlabelled)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(_Setting):
    """Adapt to tasks of unseen classes and score it."""

    run: RunPath
    """a run folder, or that of a published result with weights"""
    output: Path | None = None
    """folder for the files; the run folder unless given, and none of a published result's"""


@dataclass(frozen=True, kw_only=True)
class CompareOptions(_Setting):
    """Several runs in one table and one plot."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """run folders, or those of published results with weights, all of one data set"""
    output: Path = Path("comparison.png")
    """the plot; beside it a CSV of the same name"""
