"""What a result says of an evaluation: the summary.json, and the figures in it that something is asked of."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from metarl.core.errors import MetaRLError
from metarl.evaluate.scores import Evaluation, PointScore
from metarl.evaluate.statistics import Estimate
from results.labels import label
from results.schema import Summary, check_summary

_NAME = re.compile(
    r"(?:(return|normalised)(?: (step|episode) (\d+)| episodes (\d+)-(\d+)| (trial))?(, deterministic)?"
    r"|n=(\d+)(?: k=(\d+))?)"
)


def figure(evaluation: Evaluation, name: str, **asked: Any) -> dict[str, Any]:
    """One of a summary's figures, by its name, with its label.

    "return" or "normalised" at the last point, or at "... step K", after K adaptation steps. Of a trial "... episode K"
    is its K-th episode, "... episodes J-K" their mean, "... trial" its total, and "n=100 k=5" (a bandit's pulls and
    arms) or "n=10" the same return. "..., deterministic" is the score without exploration noise.

    Args:
        evaluation: that the figure is read off.
        name: see above.
        asked: ``target``, ``basis``, ``published`` and ``budget``, as of ``entry``.
    """
    score = _named(evaluation, name)
    if score is None:
        raise MetaRLError(f"{name!r}: floor or optimum of {evaluation.family} is unknown; ask for the return")
    return entry(name, score, evaluation.steps, **asked)


def entry(
    name: str,
    score: Estimate,
    steps: int,
    *,
    target: str | None = None,
    basis: str | None = None,
    published: float | str | None = None,
    budget: int | None = None,
) -> dict[str, Any]:
    """A figure as a summary has it, with the label that a score earned after so many steps of training.

    Args:
        name: of the figure.
        score: with its interval.
        steps: environment steps, or tasks of a few-shot learner, of a seed's training.
        target: a bound such as ">= 0.98".
        basis: what that bound is, such as "98% of the optimum".
        published: what a paper printed, a number or words that begin with one.
        budget: steps of the reference's training; a run that had fewer is labelled "at N steps".
    """
    low, high = score.interval
    return {
        **{"name": name, "value": score.value, "low": low, "high": high},
        **{"target": target, "basis": basis, "published": published, "budget": budget},
        "label": label(name, low, high, steps=steps, target=target, published=published, budget=budget),
    }


def _named(evaluation: Evaluation, name: str) -> Estimate | None:
    """The score that a figure's name asks for; None for a normalised one that is not known."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise MetaRLError(
            f'{name!r} cannot be read off an evaluation; ask for "return", "normalised", "... step K", '
            '"... episode K", "... episodes J-K", "... trial", or "n=N k=K"'
        )
    kind, unit, count, first, last, whole, quiet, n, k = match.groups()
    total, most = evaluation.trial_total, len(evaluation.points)
    if (unit == "episode" or last or whole or n) and total is None:
        raise MetaRLError(f"{name!r}: {evaluation.agent} was not scored on the successive episodes of a trial")
    if whole or n:
        assert total is not None  # for mypy: see above
        arms = evaluation.task_vectors.shape[1]
        if n and (int(n) != total.episodes or (k and int(k) != arms)):
            raise MetaRLError(
                f"{name!r}: the trial has {total.episodes} episodes, and a task {arms} numbers; name those"
            )
        return _score(total, kind, quiet)
    if last:
        if not 1 <= int(first) <= int(last) <= most:
            raise MetaRLError(f"{name!r}: the trial has episodes 1 to {most}, the first of them first")
        return _score(evaluation.mean_of(int(first) - 1, int(last) - 1), kind, quiet)
    wanted = None if count is None else int(count) - (unit == "episode")
    points = [each for each in evaluation.points if wanted is None or each.adaptations == wanted]
    if not points and unit == "episode":
        raise MetaRLError(f"{name!r}: the trial has episodes 1 to {most}; name one of them")
    if not points:
        raise MetaRLError(f"{name!r}: the curve has adaptation steps {evaluation.adaptations}; name one of them")
    return _score(points[-1], kind, quiet)


def _score(point: PointScore, kind: str | None, quiet: str | None) -> Estimate | None:
    if quiet and point.returns_deterministic is None:
        raise MetaRLError("nothing was scored without exploration noise; evaluate with --deterministic")
    if kind == "normalised":
        return point.normalised_deterministic if quiet else point.normalised
    return point.returns_deterministic if quiet else point.returns


def summary(
    evaluation: Evaluation,
    *,
    command: str,
    machine: str,
    version: str,
    tuned_on: str,
    figures: Sequence[Mapping[str, Any]],
) -> Summary:
    """The summary.json of an evaluation, checked.

    Args:
        evaluation: what is told.
        command: that trained and evaluated it.
        machine: that it was trained on.
        version: the package's.
        tuned_on: the split that the recipe was chosen by, one of ``TUNED_ON``.
        figures: what ``figure`` gives.
    """

    def mean(score: Estimate, **more: float) -> dict[str, float]:
        low, high = score.interval
        return {"mean": score.value, **more, "low": low, "high": high}

    def scores(point: PointScore) -> dict[str, Any]:
        normalised = None if point.normalised is None else mean(point.normalised)
        return {"return": mean(point.returns, iqm=point.iqm), "normalised": normalised}

    curve = [
        {"episodes": point.episodes, "adaptations": point.adaptations, **scores(point)} for point in evaluation.points
    ]
    total = evaluation.trial_total
    return check_summary(
        {
            "agent": evaluation.agent,
            "family": evaluation.family,
            "variant": evaluation.variant,
            "split": evaluation.split_label,
            "streams": evaluation.streams,
            "tuned_on": tuned_on,
            "seeds": list(evaluation.seeds),
            "steps": evaluation.steps,
            "wall_seconds": evaluation.wall_seconds,
            "machine": machine,
            "command": command,
            "version": version,
            "curve": curve,
            "trial": None if total is None else {"episodes": total.episodes, **scores(total)},
            "figures": [dict(each) for each in figures],
        }
    )
