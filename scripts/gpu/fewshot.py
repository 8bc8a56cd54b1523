"""The row of few-shot learning: Prototypical networks and MAML on Omniglot, their speed and the accuracy reached."""

from contextlib import suppress
from dataclasses import replace

from gpu.record import Job, Record
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.data.registry import make_dataset
from metarl.fewshot.learners.registry import preset_config
from metarl.fewshot.model import FewShot

_SCORED = EpisodeSpec(5, 1, 15)
_LEARNERS = ("prototypical", "maml")
_WARM_UP, _TIMED = 5, 20  # iterations by which the rest is planned
_SCORING = 4.0  # seconds kept for the score of each


def measure(job: Job, record: Record) -> None:
    """Measure each learner in an equal share of the time that is left."""
    dataset = make_dataset("omniglot")
    for place, learner in enumerate(_LEARNERS):
        _train(learner, dataset, job, record, job.left(1.0) / (len(_LEARNERS) - place))


def _train(learner: str, dataset: FewShotDataset, job: Job, record: Record, seconds: float) -> None:
    """Train with the literature's settings for as many iterations as there is time for, and score."""
    config = preset_config(learner, "paper")
    config = replace(config, tasks=job.size(config.tasks))
    if job.scale < 1:
        config = replace(config, width=8, episode=replace(config.episode, way=min(config.episode.way, 20)))
    end = job.left() - seconds
    FewShot(learner, dataset, config, device=job.device).fit(dataset, iterations=_WARM_UP)
    job.wait()
    started = job.left()
    FewShot(learner, dataset, config, device=job.device).fit(dataset, iterations=_TIMED)
    job.wait()
    rate = _TIMED / (started - job.left())
    record.number(f"{learner}, iterations a second", rate, "1/s", f"{config.tasks} tasks of {config.episode.way} ways")
    planned = max(1, min(job.size(config.iterations), int(rate * min(job.training(0), job.left() - end - _SCORING))))
    model = FewShot(learner, dataset, replace(config, iterations=planned), device=job.device)
    began, last = job.left(), [job.left()]

    def logged(model: FewShot, metrics: dict[str, float]) -> None:
        if last[0] - job.left() > 1:
            last[0] = job.left()
            values = {name: value for name, value in metrics.items() if name in ("objective", "accuracy")}
            record.point(learner, seconds=began - job.left(), iteration=model.iteration, **values)
        if job.left() - end < _SCORING / 2:
            raise _TimeIsUp

    with suppress(_TimeIsUp):
        model.fit(dataset, callback=logged)
    job.wait()
    took = began - job.left()
    record.number(f"{learner}, trained", model.iteration, "iterations", f"in {took:.1f} s, {planned} were planned")
    episodes = job.size(600, 20)
    accuracy = model.score(dataset.split("test"), _SCORED, episodes).at()
    half = 1.96 * accuracy.std(ddof=1) / len(accuracy) ** 0.5
    note = f"± {100 * half:.1f}; {episodes} episodes with 15 queries a class, after {took:.0f} s"
    record.number(f"{learner}, 5w1s", 100 * float(accuracy.mean()), "%", note)


class _TimeIsUp(Exception):
    """Ends training that takes longer than it did at first."""
