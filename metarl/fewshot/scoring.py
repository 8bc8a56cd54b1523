"""Scoring a few-shot learner on episodes of a split, and what it costs to adapt to one task."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from metarl.core.errors import MetaRLError
from metarl.core.random import torch_generator
from metarl.core.types import Outputs, Params
from metarl.fewshot.data.dataset import TaskSource
from metarl.fewshot.data.episodes import Episodes, EpisodeSpec
from metarl.fewshot.data.groups import Groups
from metarl.fewshot.learners.base import FewShotLearner, error
from metarl.fewshot.measures import ACCURACY, measure_of, measured

_AT_ONCE = 20  # tasks of an evaluation
_EVERY = 10  # steps: beyond so many only multiples are scored, and the last
_REPEATS = 5  # of an adaptation that is timed
_EVALUATION = "evaluate"
_VALIDATED = 400  # episodes by which training chooses its length
_VALIDATION_WAY = 5  # at most


@dataclass(frozen=True)
class Scores:
    """The scores of every episode after so many steps of adaptation; learners without steps have one point."""

    measure: str  # of ``metarl.fewshot.measures``
    adaptations: tuple[int, ...]  # steps taken at each point
    values: NDArray[np.float64]  # (point, episode)
    transductive: bool  # whether queries were told apart with the help of one another
    queries: NDArray[np.float64] | None = None  # (episode,) how many different ones, where tasks have unlike numbers

    def at(self, step: int | None = None) -> NDArray[np.float64]:
        """Return the scores after so many steps, all of them unless given, ``(episode,)``."""
        found: NDArray[np.float64] = self.values[-1 if step is None else point_of(self.adaptations, step)]
        return found


def point_of(adaptations: tuple[int, ...], step: int) -> int:
    """Return which point of a curve is after so many steps."""
    if step not in adaptations:
        raise MetaRLError(f"There is no step {step}; scored were {', '.join(map(str, adaptations))}.")
    return adaptations.index(step)


def score(
    learner: FewShotLearner,
    params: Params,
    source: TaskSource,
    spec: EpisodeSpec,
    episodes: int = 600,
    seed: int = 0,
    *,
    transductive: bool = False,
    measure: str = ACCURACY,
    report: Callable[[int], None] | None = None,
) -> Scores:
    """Adapt to the support of each episode and score its queries, each predicted from the support alone: inductive.

    Args:
        learner: that tells as many classes apart as ``spec`` has.
        params: of the learner.
        source: the tasks of a split.
        spec: the size of an episode; its unlabelled samples refine the state first.
        episodes: how many.
        seed: decides which.
        transductive: whether the queries themselves refine the state too.
        measure: of ``metarl.fewshot.measures``; numbers have squared errors where one of classes is named.
        report: is called with how many have been scored so far.
    """
    if episodes < 1:
        raise MetaRLError(f"episodes={episodes}: score at least one.")
    found, asked = dict[int, list[Tensor]](), list[Tensor]()
    for first in range(0, episodes, _AT_ONCE):
        some = _drawn(source, spec, episodes, seed, first)
        distinct = some.distinct if some.classes is None else None
        asked += [] if distinct is None else [distinct]
        # Adapting by gradient needs one; what comes out of it does not.
        with torch.no_grad():
            points = learner.points(params, learner.presented(some))
            following = next(points, None)
            while following is not None:
                (step, state), following = following, next(points, None)
                # Predicting takes far longer than a step, and after so many of them little changes.
                if step > _EVERY and step % _EVERY and following is not None:
                    continue
                for inputs in (some.unlabelled, some.query.inputs if transductive else None):
                    state = state if inputs is None else learner.refine(params, state, inputs)
                outputs = learner.query(params, state, some.query.inputs)
                way = 0 if some.classes is None else some.classes.shape[1]
                found.setdefault(step, []).append(measured(outputs, some.query.targets, way, measure, distinct))
        if report is not None:
            report(min(first + _AT_ONCE, episodes))
    values = np.stack([torch.cat(each).double().cpu().numpy() for each in found.values()])
    queries = torch.cat(asked).double().cpu().numpy() if asked else None
    measure = measure_of(measure, numbers=some.classes is None)
    return Scores(measure, tuple(found), values, transductive, queries)


def validation_error(learner: FewShotLearner, params: Params, source: TaskSource, spec: EpisodeSpec) -> float:
    """Return the mean error on episodes of a validation split, the same ones at each call.

    They are as those of training, but have 5 classes at most, as fewer are left to validate on.
    """
    way = min(_VALIDATION_WAY, spec.way)
    if not (isinstance(source, Groups) and not source.classes):  # of which supports of all sizes are validated on
        spec = replace(spec.largest, way=way, most_way=None, most_shot=None)
    spec = source.fitting(spec)
    answers = answered(learner, params, source, spec, _VALIDATED)
    return sum(float(error(outputs, targets).sum()) for outputs, targets in answers) / _VALIDATED


def answered(
    learner: FewShotLearner,
    params: Params,
    source: TaskSource,
    spec: EpisodeSpec,
    episodes: int,
    seed: int = 0,
    purpose: str = _EVALUATION,
) -> Iterator[tuple[Outputs, Tensor]]:
    """Yield what a learner, once adapted, says of the queries of episodes, with their targets, some tasks at a time.

    Args:
        learner: that tells as many classes apart as ``spec`` has.
        params: of the learner.
        source: the tasks of a split.
        spec: the size of an episode.
        episodes: how many.
        seed: decides which.
        purpose: decides too, so that other uses have other episodes.
    """
    for first in range(0, episodes, _AT_ONCE):
        some = _drawn(source, spec, episodes, seed, first, purpose)
        with torch.no_grad():
            *_, (_, state) = learner.points(params, learner.presented(some))
            yield learner.query(params, state, some.query.inputs), some.query.targets


def first_scored(source: TaskSource, spec: EpisodeSpec, episodes: int, seed: int = 0) -> Episodes:
    """Return the first of so many episodes that ``score`` draws."""
    return _drawn(source, spec, episodes, seed, 0).rows(slice(0, 1))


def _drawn(
    source: TaskSource, spec: EpisodeSpec, episodes: int, seed: int, first: int, purpose: str = _EVALUATION
) -> Episodes:
    generator = torch_generator(seed, "fewshot", purpose, first)
    n_tasks = min(_AT_ONCE, episodes - first)
    if isinstance(source, Groups) and not source.classes:  # which are many, and would not count the same by chance
        return source.draw(spec, n_tasks, generator, first)
    return source.draw(spec, n_tasks, generator)


@dataclass(frozen=True)
class Cost:
    """The cost of adapting to one task."""

    seconds: float  # the median of several
    bytes: int  # the most that is held beside the parameters


def cost_of(learner: FewShotLearner, params: Params, source: TaskSource, spec: EpisodeSpec) -> Cost:
    """Measure what it takes to adapt to the support of one episode."""
    support = source.draw(spec, 1, torch.Generator().manual_seed(0)).support
    device = support.inputs.device

    def adapt() -> None:
        with torch.no_grad():
            for _ in learner.points(params, support):
                pass
            if device.type == "cuda":
                torch.cuda.synchronize(device)

    adapt()  # the first is slower: caches and buffers
    taken = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        adapt()
        taken.append(time.perf_counter() - started)
    return Cost(float(np.median(taken)), _most_bytes(adapt, device))


def _most_bytes(call: Callable[[], None], device: torch.device) -> int:
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler prints its stages
    # Of one cycle all events are kept; without acc_events some versions of torch warn that they are not.
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as watched:
        call()
    taken = [each for each in watched.profiler.kineto_results.events() if each.name() == "[memory]"]
    return int(max(np.cumsum([each.nbytes() for each in sorted(taken, key=lambda each: each.start_ns())]), default=0))
