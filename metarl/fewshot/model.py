"""Two verbs over few-shot learners: ``fit`` a data set, and ``adapt`` to a support of one's own."""

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from metarl.core.checkpoint import config_from, load_checkpoint, prefixed, save_checkpoint, with_prefix
from metarl.core.device import check_device
from metarl.core.errors import MetaRLError
from metarl.core.optimiser import Adam, linear_decay
from metarl.core.random import torch_generator
from metarl.core.types import Params, State
from metarl.fewshot.adapted import Classifier, Regressor, as_rows
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import DataSpec, FewShotDataset, Part
from metarl.fewshot.data.episodes import EpisodeSpec, Support
from metarl.fewshot.learners.registry import make_learner
from metarl.fewshot.scoring import Cost, Scores, cost_of, score

Callback = Callable[["FewShot", dict[str, float]], None]


class FewShot:
    """A few-shot learner, its parameters and its training.

    Args:
        config: see ``metarl.fewshot.recipe`` for each learner's.
        data set: that it is made for, or only its ``Kind``.
    """

    def __init__(
        self,
        config: FewShotConfig,
        dataset: FewShotDataset | DataSpec,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.kind = dataset.kind if isinstance(dataset, FewShotDataset) else dataset
        self.config, self.seed, self.device = config, seed, check_device(device)
        self.learner = make_learner(config, self.kind)
        made = self.learner.init(torch_generator(seed, "fewshot", "init"))
        self.params: Params = {name: value.to(self.device) for name, value in made.items()}
        self.iteration = 0
        self.wall_seconds = 0.0  # of training so far
        self.run_id = ""  # of the run folder that it belongs to
        self.log_digest = ""  # of the rows that the run has logged so far
        self._adam: Adam | None = None

    @property
    def adam(self) -> Adam:
        """The optimiser, made when training begins."""
        if self._adam is None:
            self._adam = Adam(self.params, self.config.learning_rate, self.config.max_norm)
        return self._adam

    def fit(self, dataset: FewShotDataset, *, iterations: int | None = None, callback: Callback | None = None) -> Self:
        """Train on the data set's training part, up to the config's iterations or for as many further ones as given.

        ``callback`` is called after each with what there is to log.
        """
        if dataset.kind != self.kind:
            raise MetaRLError(f"{dataset.name} has {dataset.kind}; this learner was made for {self.kind}.")
        config, part = self.config, dataset.part("train").to(self.device)
        last = config.iterations if iterations is None else self.iteration + iterations
        while self.iteration < last:
            started = time.perf_counter()
            generator = torch_generator(self.seed, "fewshot", "train", self.iteration)
            episodes = part.draw(config.episode, config.tasks, generator)
            progress = self.iteration / config.iterations
            self.adam.learning_rate = linear_decay(config.learning_rate, config.final_learning_rate, progress)
            gradient, logged = self.learner.gradient(self.params, episodes, config.chunk)
            if not np.isfinite(logged["objective"]):
                raise MetaRLError(
                    f"Training diverged in iteration {self.iteration}: the loss is {logged['objective']}. Lower "
                    "learning_rate or the steps' size; the last checkpoint is from before."
                )
            self.adam.step(gradient)
            self.params = self.adam.values()
            self.iteration += 1
            self.wall_seconds += time.perf_counter() - started
            if callback is not None:
                callback(self, logged)
        return self

    def adapt(
        self, inputs: ArrayLike | Tensor, labels: ArrayLike, unlabelled: ArrayLike | Tensor | None = None
    ) -> Classifier | Regressor:
        """A classifier from a support of one's own, or of numbers a regressor.

        ``inputs`` ``(sample, *shape)`` are scaled as in training. ``labels`` ``(sample,)`` may be anything that NumPy
        sorts; numbers to predict are ``(sample, outputs)``. ``unlabelled`` samples of the same classes refine the
        prototypes of the learners that have some. Raises where shapes do not fit, for NaN, and for more classes than
        the learner can tell apart.
        """
        rows = as_rows(inputs, self.kind.shape, self.device)
        if self.kind.outputs is not None:
            targets = as_rows(np.reshape(labels, (-1, self.kind.outputs)), (self.kind.outputs,), self.device, "target")
            _check_labelled(rows, targets.shape[:1])
            return Regressor(
                self.learner, self.params, self.adapted(Support(rows[None], targets[None])), self.kind.shape
            )
        try:
            names, which = np.unique(np.asarray(labels), return_inverse=True)
        except TypeError as error:
            raise MetaRLError(f"Labels must be of one kind that can be sorted ({error}).") from error
        _check_labelled(rows, which.shape)
        if len(names) < 2:
            raise MetaRLError(f"The support has {len(names)} class; there is nothing to tell apart.")
        support = Support(rows[None], torch.from_numpy(which)[None].to(self.device))
        more = None if unlabelled is None else as_rows(unlabelled, self.kind.shape, self.device)[None]
        state = self.adapted(support, len(names), more)
        learner = make_learner(self.config, self.kind, len(names))
        return Classifier(learner, self.params, state, self.kind.shape, names)

    def adapted(self, support: Support, way: int | None = None, unlabelled: Tensor | None = None) -> State:
        """The state of each task after its support."""
        learner = make_learner(self.config, self.kind, way)
        with torch.no_grad():
            *_, (_, state) = learner.points(self.params, support)
            return state if unlabelled is None else learner.refine(self.params, state, unlabelled)

    def check(self, part: Part, shape: EpisodeSpec) -> None:
        """Raise where ``score`` would: before a training rather than after it."""
        make_learner(self.config, self.kind, shape.largest.way)
        part.draw(shape, 1, torch.Generator())

    def score(
        self, part: Part, shape: EpisodeSpec, episodes: int = 600, seed: int = 0, *, transductive: bool = False
    ) -> Scores:
        """Accuracies or squared errors on episodes of a part; see ``metarl.fewshot.scoring``."""
        if part.shape != self.kind.shape:
            raise MetaRLError(f"Samples have shape {part.shape}; this learner takes {self.kind.shape}.")
        learner = make_learner(self.config, self.kind, shape.largest.way)
        part = part.to(self.device)
        return score(learner, self.params, part, shape, episodes, seed, transductive=transductive)

    def cost(self, part: Part, shape: EpisodeSpec) -> Cost:
        """What adapting to one task of a part takes."""
        learner = make_learner(self.config, self.kind, shape.largest.way)
        return cost_of(learner, self.params, part.to(self.device), shape)

    def evaluate(self, part: Part, shape: EpisodeSpec, episodes: int = 600, seed: int = 0) -> NDArray[np.float64]:
        """The accuracy, or squared error, of each of so many episodes, once adapted ``(episode,)``."""
        return self.score(part, shape, episodes, seed).at()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters, optimiser and config in one file, atomically."""
        training = prefixed("training", self.adam.state_dict())
        whose = {"run": self.run_id, "log": self.log_digest}
        save_checkpoint(path, {**prefixed("params", self.params), **training}, {"fewshot": self._about(), **whose})

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Write only what adapting and predicting need. ``load`` reads it, with an optimiser as new."""
        acting = self.learner.acting(self.params)
        save_checkpoint(path, prefixed("params", acting), {"fewshot": self._about(), "weights_only": True})

    def _about(self) -> dict[str, Any]:
        about = {"config": asdict(self.config), "kind": asdict(self.kind), "seed": self.seed}
        return about | {"iteration": self.iteration, "wall_seconds": self.wall_seconds}

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """What ``save`` wrote; training goes on from there as if it had not stopped. Or what ``save_weights`` wrote."""
        tensors, about = load_checkpoint(path)
        if "fewshot" not in about:
            raise MetaRLError(f"{path} is the checkpoint of an agent, not of a few-shot learner; load it with its own.")
        saved = about["fewshot"]
        config, kind = config_from(FewShotConfig, saved["config"]), config_from(DataSpec, saved["kind"])
        model = cls(config, kind, seed=saved["seed"], device=device)
        params, weights_only = with_prefix("params", tensors), about.get("weights_only", False)
        if weights_only:
            params = model.learner.completed(params, model.params)
        # In the order that they were made in, for sums over all of them round by their order; a file has its own.
        model.params = {name: params[name].to(model.device) for name in model.params}
        if not weights_only:
            model.adam.load_state_dict(with_prefix("training", tensors))
        model.iteration, model.wall_seconds = saved["iteration"], saved["wall_seconds"]
        model.run_id, model.log_digest = about.get("run", ""), about.get("log", "")
        return model


def _check_labelled(rows: Tensor, labels: tuple[int, ...]) -> None:
    if labels != (len(rows),):
        raise MetaRLError(f"{len(rows)} samples and labels of shape {tuple(labels)}; give each sample one label.")
