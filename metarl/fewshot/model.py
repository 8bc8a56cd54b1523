"""Two verbs over few-shot learners: ``fit`` a data set, and ``adapt`` to a support of one's own."""

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from metarl.core.checkpoint import config_from, load_checkpoint, prefixed, save_checkpoint, with_prefix
from metarl.core.device import check_device
from metarl.core.errors import MetaRLError
from metarl.core.modules import ModuleNetwork
from metarl.core.optimiser import Adam, linear_decay
from metarl.core.parallel import TaskParallel
from metarl.core.plugins import BACKBONES, LEARNERS, import_named, trusted
from metarl.core.random import torch_generator
from metarl.core.types import Params, State
from metarl.fewshot.adapted import Classifier, Regressor, as_rows, check_labelled, classes_in
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import DataSpec, FewShotDataset, TaskSource
from metarl.fewshot.data.episodes import EpisodeSpec, Support
from metarl.fewshot.learners.base import FewShotLearner
from metarl.fewshot.learners.registry import address_of, learner_class, make_learner, preset_config
from metarl.fewshot.learners.standardised import in_unit_of_training
from metarl.fewshot.measures import ACCURACY
from metarl.fewshot.scoring import Cost, Scores, cost_of, score, validation_error

Callback = Callable[["FewShot", dict[str, float]], None]


class FewShot:
    """A few-shot learner, its parameters and its training.

    Args:
        learner: a name such as ``"maml"``, ``module:Class``, a subclass of ``FewShotLearner``, or a ready learner.
        dataset: what it is made for, a data set or only its ``DataSpec``.
        config: of the learner's ``config_class``; that of its default preset, or the ready learner's, unless given.
        backbone: a ``torch.nn.Module``, or a function that makes one, in place of our own; see
            ``metarl.core.modules.ModuleNetwork`` for what it may be.
        seed: of initial parameters and of all episodes.
        device: where parameters and samples are.
    """

    def __init__(
        self,
        learner: str | type[FewShotLearner] | FewShotLearner,
        dataset: FewShotDataset | DataSpec,
        config: FewShotConfig | None = None,
        *,
        backbone: nn.Module | Callable[[], nn.Module] | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.spec = dataset.spec if isinstance(dataset, FewShotDataset) else dataset
        self._ready = in_unit_of_training(learner, self.spec) if isinstance(learner, FewShotLearner) else None
        self.learner_class = type(learner) if isinstance(learner, FewShotLearner) else learner_class(learner)
        if self._ready is not None and backbone is not None:
            raise MetaRLError(f"{self.learner_class.name} is ready and has its backbone; give the one or the other.")
        self.config = config or (preset_config(self.learner_class) if self._ready is None else self._ready.config)
        self.seed, self.device = seed, check_device(device)
        module = backbone if backbone is not None or not self.config.backbone else import_named(self.config.backbone)
        self.backbone = None if module is None else ModuleNetwork(module, self.spec.shape)
        self.learner = self.learner_for()
        made = self.learner.init(torch_generator(seed, "fewshot", "init"))
        if not made:
            raise MetaRLError(f"{self.learner_class.name} has no parameters to train; leave some of them unfrozen.")
        # Those that predict: the last ones, or where training validates the best so far, with their error there.
        self.params: Params = {name: value.to(self.device) for name, value in made.items()}
        self.least_error = math.inf
        self.parallel = TaskParallel()  # through which all reductions over tasks go
        self.iteration = 0
        self.wall_seconds = 0.0  # of training so far
        self.run_id = ""  # of the run folder that it belongs to
        self.log_digest = ""  # of the rows that the run has logged so far
        self._adam: Adam | None = None

    def learner_for(self, way: int | None = None) -> FewShotLearner:
        """Return the learner that tells so many classes apart, training's number unless given; raise if it cannot."""
        made_for = self.config.episode.largest.way
        if self._ready is None:
            return make_learner(self.learner_class, self.config, self.spec, way, self.backbone)
        if way is not None and way > made_for:
            raise MetaRLError(f"The learner was made for {made_for} classes and cannot tell {way} apart; make another.")
        return self._ready

    @property
    def adam(self) -> Adam:
        """Return the optimiser, which is made when training begins."""
        if self._adam is None:
            self._adam = self.learner.optimiser(self.params, self.config.learning_rate, self.config.max_norm)
        return self._adam

    def fit(self, dataset: FewShotDataset, *, iterations: int | None = None, callback: Callback | None = None) -> Self:
        """Train on a data set's training split, and return itself.

        Args:
            dataset: of the kind that the learner was made for.
            iterations: further ones; up to the config's number unless given.
            callback: called after each, with what there is to log.
        """
        if dataset.spec != self.spec:
            raise MetaRLError(f"{dataset.name} has {dataset.spec}; this learner was made for {self.spec}.")
        config, source = self.config, dataset.split("train").to(self.device)
        last = config.iterations if iterations is None else self.iteration + iterations
        validated = config.validate_every and "val" in dataset.splits
        validation = dataset.split("val").to(self.device) if validated else None
        if not self.iteration:
            self.params = self.learner.started(self.params, source, torch_generator(self.seed, "fewshot", "start"))
            self._adam = None
            if validation is not None:
                self._keep_if_best(validation)
        while self.iteration < last:
            started = time.perf_counter()
            generator = torch_generator(self.seed, "fewshot", "train", self.iteration)
            episodes = source.draw(config.episode, config.tasks, generator)
            progress = self.iteration / (config.schedule_iterations or config.iterations)
            self.adam.learning_rate = linear_decay(config.learning_rate, config.final_learning_rate, progress)
            gradient, logged = self.learner.gradient(self.latest, episodes, config.chunk, self.parallel)
            if not np.isfinite(logged["objective"]):
                why = f"Training diverged in iteration {self.iteration}: the loss is {logged['objective']}."
                raise MetaRLError(f"{why} Lower learning_rate or the steps' size; the last checkpoint is from before.")
            self.adam.step(gradient)
            self.iteration += 1
            if validation is None:
                self.params = self.adam.values()
            elif self.iteration % (config.validate_every or 1) == 0 or self.iteration == config.iterations:
                self._keep_if_best(validation)
            self.wall_seconds += time.perf_counter() - started
            if callback is not None:
                callback(self, logged)
        return self

    @property
    def latest(self) -> Params:
        """Return the parameters that training has come to, the best ones or not."""
        return self.adam.values() if self.config.validate_every else self.params

    def _keep_if_best(self, validation: TaskSource) -> None:
        """Let the latest parameters predict where their error on validation tasks is the least so far."""
        error = validation_error(self.learner, self.latest, validation, self.config.episode)
        if error < self.least_error:
            self.params, self.least_error = self.latest, error

    def adapt(
        self, inputs: ArrayLike | Tensor, labels: ArrayLike, unlabelled: ArrayLike | Tensor | None = None
    ) -> Classifier | Regressor:
        """Adapt to a support of one's own, and return a classifier, or for numbers a regressor.

        Args:
            inputs: samples ``(sample, *shape)``, scaled as in training.
            labels: of each sample ``(sample,)``, anything NumPy sorts; numbers to predict are ``(sample, outputs)``.
            unlabelled: further samples of the same classes, which refine prototypes where the learner has some.
        Raises MetaRLError where shapes do not fit, for NaN, and for more classes than the learner can tell apart.
        """
        rows, outputs = as_rows(inputs, self.spec.shape, self.device), self.spec.outputs
        if outputs is not None:
            targets = as_rows(np.reshape(labels, (-1, outputs)), (outputs,), self.device, "target")
            check_labelled(rows, targets.shape[:1])
            state = self.adapted(Support(rows[None], targets[None]))
            return Regressor(self.learner, self.params, state, self.spec.shape)
        names, which = classes_in(rows, labels)
        support = Support(rows[None], torch.from_numpy(which)[None].to(self.device))
        more = None if unlabelled is None else as_rows(unlabelled, self.spec.shape, self.device)[None]
        state = self.adapted(support, len(names), more)
        return Classifier(self.learner_for(len(names)), self.params, state, self.spec.shape, names)

    def classifier(self, temperature: float = 1.0) -> Any:
        """Return a scikit-learn classifier, ``FewShotClassifier``, whose ``fit`` adapts this model."""
        return import_named("metarl.fewshot.estimators:FewShotClassifier")(model=self, temperature=temperature)

    def adapted(self, support: Support, way: int | None = None, unlabelled: Tensor | None = None) -> State:
        """Return the state of each task after its support."""
        learner = self.learner_for(way)
        with torch.no_grad():
            *_, (_, state) = learner.points(self.params, support)
            return state if unlabelled is None else learner.refine(self.params, state, unlabelled)

    def check(self, source: TaskSource, spec: EpisodeSpec) -> None:
        """Raise where ``score`` would: before a training rather than after it."""
        self.learner_for(spec.largest.way)
        source.draw(spec, 1, torch.Generator())

    def score(
        self,
        source: TaskSource,
        spec: EpisodeSpec,
        episodes: int = 600,
        seed: int = 0,
        *,
        transductive: bool = False,
        measure: str = ACCURACY,
        report: Callable[[int], None] | None = None,
    ) -> Scores:
        """Return accuracies, other measures or squared errors on episodes; see ``metarl.fewshot.scoring``."""
        if source.shape != self.spec.shape:
            raise MetaRLError(f"Samples have shape {source.shape}; this learner takes {self.spec.shape}.")
        made_of = (self.learner_for(spec.largest.way), self.params, source.to(self.device), spec, episodes, seed)
        return score(*made_of, transductive=transductive, measure=measure, report=report)

    def cost(self, source: TaskSource, spec: EpisodeSpec) -> Cost:
        """Return what adapting to one task of a split takes."""
        return cost_of(self.learner_for(spec.largest.way), self.params, source.to(self.device), spec)

    def evaluate(
        self, source: TaskSource, spec: EpisodeSpec, episodes: int = 600, seed: int = 0
    ) -> NDArray[np.float64]:
        """Return the accuracy, or squared error, of each of so many episodes, once adapted ``(episode,)``."""
        return self.score(source, spec, episodes, seed).at()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters, optimiser and config in one file, atomically."""
        training = prefixed("training", self.adam.state_dict())
        whose = {"run": self.run_id, "log": self.log_digest}
        if self.config.validate_every:
            training |= prefixed("latest", self.latest)
            whose["least_error"] = repr(self.least_error)
        save_checkpoint(path, {**prefixed("params", self.params), **training}, {"fewshot": self._about(), **whose})

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Write only what adapting and predicting need. ``load`` reads it, with an optimiser as new."""
        acting = self.learner.acting(self.params)
        save_checkpoint(path, prefixed("params", acting), {"fewshot": self._about(), "weights_only": True})

    def _about(self) -> dict[str, Any]:
        return {
            "learner": address_of(self.learner_class),
            "config": asdict(self.config),
            "data": asdict(self.spec),
            "backbone": None if self.backbone is None else self.backbone.digest,
            "seed": self.seed,
            "iteration": self.iteration,
            "wall_seconds": self.wall_seconds,
        }

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        device: torch.device | str = "cpu",
        *,
        learner: str | type[FewShotLearner] | FewShotLearner | None = None,
        backbone: str | nn.Module | Callable[[], nn.Module] | None = None,
    ) -> Self:
        """Return what ``save`` wrote, whose training goes on as if it had not stopped, or what ``save_weights`` wrote.

        Args:
            path: of the file.
            device: where parameters and samples are.
            learner: your own, where it was trained: its class, ``module:Class``, or the learner that was given ready.
                No module is imported that is neither installed, imported already, nor named here.
            backbone: your own, where it was trained with one: its parameters are in the file, but not its code.
        """
        tensors, about = load_checkpoint(path)
        saved = about.get("fewshot", {})
        if "learner" not in saved:
            what = "of an older version" if saved else "the checkpoint of an agent"
            raise MetaRLError(f"{path} is {what}, not of a few-shot learner; load it with its own, or train anew.")
        if learner is None or isinstance(learner, str):
            learner = trusted(LEARNERS, saved["learner"], path, [learner] if learner else [])
        own = type(learner) if isinstance(learner, FewShotLearner) else learner_class(learner)
        if address_of(own).rpartition(":")[2] != saved["learner"].rpartition(":")[2]:
            raise MetaRLError(f"{path} is of the learner {saved['learner']}, not of {address_of(own)}; give that one.")
        config, spec = config_from(own.config_class, saved["config"]), config_from(DataSpec, saved["data"])
        if config.backbone and (backbone is None or isinstance(backbone, str)):
            named = trusted(BACKBONES, config.backbone, path, [backbone] if backbone else [])
            config, backbone = replace(config, backbone=named), None
        elif isinstance(backbone, str):
            backbone = import_named(backbone)
        if saved["backbone"] and not config.backbone and backbone is None:
            raise MetaRLError(f"{path} was trained with a backbone of your own; give it again: backbone=MODULE.")
        assert not isinstance(backbone, str)  # for mypy
        model = cls(learner, spec, config, backbone=backbone, seed=saved["seed"], device=device)
        if saved["backbone"] != model._about()["backbone"]:
            raise MetaRLError(f"{path} was trained with another backbone than {backbone!r:.80}; give that one again.")
        params, weights_only = with_prefix("params", tensors), about.get("weights_only", False)
        if weights_only:
            params = model.learner.completed(params, model.params)
        shapes, wanted = ({name: tuple(each.shape) for name, each in some.items()} for some in (params, model.params))
        if shapes != wanted:
            raise MetaRLError(
                f"{path} holds other parameters than this learner has: {sorted(shapes.items() ^ wanted.items())[:4]}; "
                "give the learner and the backbone that it was trained with."
            )
        # In the order that they were made in, for sums over all of them round by their order; a file has its own.
        model.params = {name: params[name].to(model.device) for name in model.params}
        if not weights_only:
            latest = with_prefix("latest", tensors) or model.params
            ordered = {name: latest[name].to(model.device) for name in model.params}
            model._adam = model.learner.optimiser(ordered, config.learning_rate, config.max_norm)
            model._adam.load_state_dict(with_prefix("training", tensors))
            model.least_error = float(about.get("least_error", "inf"))
        model.iteration, model.wall_seconds = saved["iteration"], saved["wall_seconds"]
        model.run_id, model.log_digest = about.get("run", ""), about.get("log", "")
        return model
