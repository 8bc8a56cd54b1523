"""Two verbs over few-shot learners: ``fit`` a source, and ``adapt`` to a support of one's own."""

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from metarl.checkpoint import config_from, load_checkpoint, prefixed, save_checkpoint, with_prefix
from metarl.device import check_device
from metarl.errors import MetaRLError
from metarl.fewshot.body import body_for
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.episodes import Classes, Shape, Support
from metarl.fewshot.gradient import MAML, Reptile
from metarl.fewshot.learner import LOGITS, FewShotLearner, accuracy
from metarl.fewshot.metric import Comparing, Prototypical, Relation
from metarl.fewshot.pairs import Matching, Siamese
from metarl.fewshot.sources import Source
from metarl.learner import Params, State
from metarl.optimiser import Adam, falling
from metarl.rollout.random import torch_generator

_COMPARING: dict[str, type[Comparing]] = {
    "prototypical": Prototypical,
    "matching": Matching,
    "relation": Relation,
    "siamese": Siamese,
}
_AT_ONCE = 20  # tasks of an evaluation
Callback = Callable[["FewShot", dict[str, float]], None]


class FewShot:
    """A few-shot learner, its parameters and its training.

    Args:
        config: see ``metarl.fewshot.config.recipe`` for each learner's.
        shape: of one sample, such as ``(28, 28)``.
    """

    def __init__(
        self,
        config: FewShotConfig,
        shape: tuple[int, ...],
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config, self.shape, self.seed, self.device = config, tuple(shape), seed, check_device(device)
        self.learner = self._learner(config.episode.way)
        made = self.learner.init(torch_generator(seed, "fewshot", "init"))
        self.params: Params = {name: value.to(self.device) for name, value in made.items()}
        self.iteration = 0
        self._adam: Adam | None = None

    @property
    def adam(self) -> Adam:
        """The optimiser, made when training begins."""
        if self._adam is None:
            self._adam = Adam(self.params, self.config.learning_rate)
        return self._adam

    def fit(self, source: Source, *, iterations: int | None = None, callback: Callback | None = None) -> Self:
        """Train on the source's training classes, up to the config's iterations or for as many further ones as given.

        ``callback`` is called after each with what there is to log.
        """
        if source.shape != self.shape:
            raise MetaRLError(f"{source.name} has samples of shape {source.shape}; this learner takes {self.shape}.")
        config, classes = self.config, source.part("train").to(self.device)
        last = config.iterations if iterations is None else self.iteration + iterations
        while self.iteration < last:
            generator = torch_generator(self.seed, "fewshot", "train", self.iteration)
            episodes = classes.draw(config.episode, config.tasks, generator)
            progress = self.iteration / config.iterations
            self.adam.learning_rate = falling(config.learning_rate, config.final_learning_rate, progress)
            gradient, logged = self.learner.gradient(self.params, episodes, config.chunk)
            self.adam.step(gradient)
            self.params = self.adam.values()
            self.iteration += 1
            if callback is not None:
                callback(self, logged)
        return self

    def adapt(self, inputs: ArrayLike | Tensor, labels: ArrayLike) -> "Classifier":
        """A classifier from a support of one's own.

        ``inputs`` ``(sample, *shape)`` are scaled as in training; ``labels`` ``(sample,)`` may be anything that NumPy
        sorts. Raises where shapes do not fit, for NaN, and for more classes than the learner can tell apart.
        """
        rows = self._rows(inputs)
        try:
            names, which = np.unique(np.asarray(labels), return_inverse=True)
        except TypeError as error:
            raise MetaRLError(f"Labels must be of one kind that can be sorted ({error}).") from error
        if which.shape != (len(rows),):
            raise MetaRLError(
                f"{len(rows)} samples and labels of shape {np.shape(labels)}; give each sample one label."
            )
        if len(names) < 2:
            raise MetaRLError(f"The support has {len(names)} class; there is nothing to tell apart.")
        learner = self._learner(len(names))
        support = Support(rows[None], torch.from_numpy(which)[None].to(self.device))
        with torch.no_grad():
            state = self._adapted(learner, support)
        return Classifier(self, learner, state, names)

    def check(self, classes: Classes, shape: Shape) -> None:
        """Raise where ``evaluate`` would: before a training rather than after it."""
        self._learner(shape.way)
        classes.draw(shape, 1, torch.Generator())

    def evaluate(self, classes: Classes, shape: Shape, episodes: int = 600, seed: int = 0) -> NDArray[np.float64]:
        """The accuracy of each of so many episodes ``(episode,)``, each query predicted from the support alone."""
        if episodes < 1:
            raise MetaRLError(f"episodes={episodes}: score at least one.")
        if classes.shape != self.shape:
            raise MetaRLError(f"Samples have shape {classes.shape}; this learner takes {self.shape}.")
        learner, classes = self._learner(shape.way), classes.to(self.device)
        found = []
        for first in range(0, episodes, _AT_ONCE):
            generator = torch_generator(seed, "fewshot", "evaluate", first)
            some = classes.draw(shape, min(_AT_ONCE, episodes - first), generator)
            with torch.no_grad():
                state = self._adapted(learner, some.support)
                logits = learner.query(self.params, state, some.query.inputs)[LOGITS][..., : shape.way]
            outputs = {LOGITS: logits}  # a head may have more of them than there are classes
            found.append(accuracy(outputs, some.query.targets).double().cpu().numpy())
        return np.concatenate(found)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters, optimiser and config in one file, atomically."""
        about = {"config": asdict(self.config), "shape": self.shape, "seed": self.seed, "iteration": self.iteration}
        training = prefixed("training", self.adam.state_dict())
        save_checkpoint(path, {**prefixed("params", self.params), **training}, {"fewshot": about})

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Self:
        """What ``save`` wrote; training goes on from there as if it had not stopped."""
        tensors, about = load_checkpoint(path)
        if "fewshot" not in about:
            raise MetaRLError(f"{path} is the checkpoint of an agent, not of a few-shot learner; load it with its own.")
        saved = about["fewshot"]
        model = cls(
            config_from(FewShotConfig, saved["config"]), tuple(saved["shape"]), seed=saved["seed"], device=device
        )
        model.params = {name: value.to(model.device) for name, value in with_prefix("params", tensors).items()}
        model.adam.load_state_dict(with_prefix("training", tensors))
        model.iteration = saved["iteration"]
        return model

    def _learner(self, way: int) -> FewShotLearner:
        config, body = self.config, body_for(self.shape, self.config.width, self.config.strided)
        if config.learner in _COMPARING:
            return _COMPARING[config.learner](body, way)
        if way > config.episode.way:
            raise MetaRLError(
                f"{config.learner} was made for {config.episode.way} classes and cannot tell {way} apart; train it "
                "with more (episode.way), or take one that compares, such as prototypical."
            )
        return (Reptile if config.learner == "reptile" else MAML)(body, config.episode.way, config.gradient)

    def _adapted(self, learner: FewShotLearner, support: Support) -> State:
        state = learner.initial(self.params, len(support.targets))
        if isinstance(learner, MAML):
            return learner.adapt(self.params, state, support, self.config.gradient.test_steps)
        return learner.adapt(self.params, state, support)

    def _rows(self, inputs: ArrayLike | Tensor) -> Tensor:
        try:
            array = inputs.detach() if isinstance(inputs, Tensor) else torch.from_numpy(np.array(inputs, np.float32))
        except (TypeError, ValueError) as error:
            raise MetaRLError(f"The samples are no numbers of one shape ({error}).") from error
        rows = array.to(self.device, torch.float32)
        if rows.shape[1:] != self.shape or not len(rows):
            raise MetaRLError(
                f"Samples have shape {tuple(rows.shape)}; (n, {', '.join(map(str, self.shape))}) is taken."
            )
        if not rows.isfinite().all():
            raise MetaRLError("The samples hold NaN or infinity; leave such samples out.")
        return rows


class Classifier:
    """A learner adapted to one support."""

    def __init__(self, model: FewShot, learner: FewShotLearner, state: State, classes: NDArray[Any]) -> None:
        self._model, self._learner, self._state, self.classes_ = model, learner, state, classes
        self._params = model.params  # those that it was adapted with, whatever is trained afterwards

    def predict_proba(self, inputs: ArrayLike | Tensor) -> NDArray[np.float64]:
        """Probabilities ``(sample, class)``, in the order of ``classes_``."""
        rows = self._model._rows(inputs)
        with torch.no_grad():
            logits = self._learner.query(self._params, self._state, rows[None])[LOGITS]
        kept = logits[0, :, : len(self.classes_)].double()  # a head may have more outputs than there are classes
        return np.asarray(kept.softmax(-1).cpu().numpy())

    def predict(self, inputs: ArrayLike | Tensor) -> NDArray[Any]:
        """The most probable label of each sample."""
        return np.asarray(self.classes_[self.predict_proba(inputs).argmax(1)])
