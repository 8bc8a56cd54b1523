"""The summary.json of evaluations of an agent or of a few-shot learner, and the figures in it that have a target."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from metarl.core.errors import MetaRLError
from metarl.evaluation.fewshot import FewShotEvaluation
from metarl.evaluation.scores import STREAMS, Evaluation, PointScore
from metarl.evaluation.statistics import Estimate
from metarl.version import __version__
from results.labels import earned_label
from results.schema import Summary, check_summary

_NAME = re.compile(
    r"(?:(return|normalised)(?: (step|episode) (\d+)| episodes (\d+)-(\d+)| (trial))?(, deterministic)?"
    r"|n=(\d+)(?: k=(\d+))?)"
)


def figure(evaluation: Evaluation, name: str, **target: Any) -> dict[str, Any]:
    """Return one of a summary's figures, by its name, with its label.

    "return" or "normalised" at the last point, or at "... step K", after K adaptation steps. Of a trial "... episode K"
    is its K-th episode, "... episodes J-K" their mean, "... trial" its total, and "n=100 k=5" (a bandit's pulls and
    arms) or "n=10" the same return. "..., deterministic" is the score without exploration noise.

    Args:
        evaluation: that the figure is read off.
        name: see above.
        target: ``target``, ``basis``, ``published`` and ``budget``, as of ``entry``.
    """
    score = _named(evaluation, name)
    if score is None:
        raise MetaRLError(f"{name!r}: floor or optimum of {evaluation.family} is unknown; ask for the return")
    return entry(name, score, evaluation.steps, **target)


def fewshot_figure(evaluations: Sequence[FewShotEvaluation], name: str, **target: Any) -> dict[str, Any]:
    """Return one of a summary's figures, by its name such as "5w1s", from the evaluation of its setting.

    Args:
        evaluations: of one or several settings.
        name: of the figure.
        target: as of ``entry``.
    """
    known = {each_name: (each, score) for each in evaluations for each_name, score in each.figures.items()}
    if name not in known:
        raise MetaRLError(f"{name!r} was not scored, but {', '.join(known)}; evaluate that setting too.")
    evaluation, score = known[name]
    return entry(name, score, evaluation.iterations * evaluation.tasks, **target)


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
    """Return a figure as a summary has it, with the label that a score earned after so many steps of training.

    Args:
        name: of the figure.
        score: with its interval.
        steps: environment steps, or tasks of a few-shot learner, of a seed's training.
        target: a bound such as ">= 0.98".
        basis: what that bound is, such as "98% of the optimum".
        published: what a paper printed, a number or words that begin with one.
        budget: steps of the reference's training; a run that had fewer is labelled with its own steps.
    """
    low, high = score.interval
    return {
        **{"name": name, "value": score.value, "low": low, "high": high},
        **{"target": target, "basis": basis, "published": published, "budget": budget},
        "label": earned_label(name, low, high, steps=steps, target=target, published=published, budget=budget),
    }


def _named(evaluation: Evaluation, name: str) -> Estimate | None:
    """Return the score that a figure's name asks for; None for a normalised one that is not known."""
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


def summary(evaluation: Evaluation, *, figures: Sequence[Mapping[str, Any]], **facts: str) -> Summary:
    """Return the summary.json of an agent's evaluation, checked.

    Args:
        evaluation: of the agent.
        figures: as ``figure`` returns them.
        facts: ``command`` that trained and evaluated it, ``machine`` that it was trained on, and ``tuned_on``, one of
            ``TUNED_ON``.
    """
    points = [
        {"episodes": each.episodes, "adaptations": each.adaptations, **_scores(each)} for each in evaluation.points
    ]
    total = evaluation.trial_total
    return _summary(
        evaluation.agent,
        evaluation.family,
        evaluation.split_label,
        evaluation.steps,
        evaluation,
        facts,
        figures,
        variant=evaluation.variant,
        streams=evaluation.streams,
        curve=points,
        trial=None if total is None else {"episodes": total.episodes, **_scores(total)},
    )


def fewshot_summary(evaluation: FewShotEvaluation, *, figures: Sequence[Mapping[str, Any]], **facts: str) -> Summary:
    """Return the summary.json of a few-shot learner, checked.

    Args:
        evaluation: the first of its settings.
        figures: of all settings, as ``fewshot_figure`` returns them.
        facts: as of ``summary``.
    """
    names = ("mark", "iterations", "parameters", "adapt_seconds", "adapt_bytes")
    kind = "fresh" if evaluation.measure == "mse" else "disjoint"
    return _summary(
        evaluation.learner,
        evaluation.dataset,
        f"{evaluation.split} ({kind})",
        evaluation.iterations * evaluation.tasks,
        evaluation,
        facts,
        figures,
        fewshot={"episodes": evaluation.values.shape[2], **{name: getattr(evaluation, name) for name in names}},
    )


def _summary(
    agent: str,
    family: str,
    split: str,
    steps: int,
    evaluation: Evaluation | FewShotEvaluation,
    facts: Mapping[str, str],
    figures: Sequence[Mapping[str, Any]],
    *,
    variant: str = "",
    streams: int = STREAMS,
    **more: Any,
) -> Summary:
    return check_summary(
        {
            **{"agent": agent, "family": family, "variant": variant, "split": split, "streams": streams},
            **{"seeds": list(evaluation.seeds), "steps": steps, "wall_seconds": evaluation.wall_seconds},
            **{"version": __version__, "figures": [dict(each) for each in figures], **facts, **more},
        }
    )


def _scores(point: PointScore) -> dict[str, Any]:
    normalised = None if point.normalised is None else _mean(point.normalised)
    return {"return": _mean(point.returns, iqm=point.iqm), "normalised": normalised}


def _mean(score: Estimate, **more: float) -> dict[str, float]:
    low, high = score.interval
    return {"mean": score.value, **more, "low": low, "high": high}
