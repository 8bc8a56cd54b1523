"""The schema of a committed result's summary.json: what it must say, and that its labels are true.

    {agent, family, variant, split, streams, tuned_on, seeds: [...], steps, wall_seconds, machine, command, version,
     curve: [{episodes, adaptations, return: {mean, iqm, low, high}, normalised: {mean, low, high} or null}, ...],
     trial: {episodes, return: {...}, normalised: {...} or null} or null,
     figures: [{name, value, low, high, target, basis, published, budget, label}, ...]}

``streams`` is the version of the evaluation's random streams, see ``STREAMS``; ``tuned_on`` is what the recipe was
chosen by, one of ``TUNED_ON``. A figure's ``target`` is a bound such as ">= 0.98" and ``basis`` says in words what that
bound is; ``published`` is what a paper printed, and ``budget`` the steps of the reference's training. Each of them may
be null, and the label is derived from them, see ``labels.py``. ``curve`` and ``trial``, the total of a trial's
episodes, are optional. Few-shot learners have in their place
     fewshot: {mark: inductive or transductive, episodes, iterations, parameters, adapt_seconds, adapt_bytes}
and their steps are the tasks that a seed was trained on.
Every error names the field, what it holds, what is allowed, and so what to change.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from metarl.core.errors import MetaRLError
from metarl.evaluation.scores import SPLIT_KINDS, SPLITS, STREAMS, split_label
from results.labels import earned_label, published_number, satisfies

Summary: TypeAlias = dict[str, Any]

FIELDS = (
    "agent", "family", "variant", "split", "streams", "tuned_on", "seeds", "steps", "wall_seconds", "machine",
    "command", "version", "figures",
)  # fmt: skip
FIGURE = ("name", "value", "low", "high", "target", "basis", "published", "budget", "label")
TUNED_ON = ("published recipe", "train", "val", "test")  # the least trustworthy last
SPLIT_LABELS = tuple(dict.fromkeys(split_label(split, kind) for split in SPLITS for kind in SPLIT_KINDS))
_POINT = r"( step \d+| episode [1-9]\d*| episodes [1-9]\d*-\d+| trial)?(, deterministic)?"
# The fixed words that name figures, each with an example; "step K" is the point after K adaptation steps, "episode K"
# a trial's K-th episode, "episodes J-K" the mean of several, "trial" and "n=..." the total of a trial (of n pulls of a
# bandit with k arms, of n episodes).
FIGURE_NAMES = {
    rf"return{_POINT}": "return, return step 1, return episode 1, return episodes 1-3, deterministic, return trial",
    rf"normalised{_POINT}": "normalised, normalised step 1, normalised episode 1",
    r"n=\d+( k=\d+)?": "n=10, n=100 k=5",
    r"\d+w\d+s": "5w1s",
    r"(median )?mse \d+-shot( step \d+)?": "mse 10-shot step 1, median mse 10-shot step 1, mse 10-shot",
    r"rmse": "rmse",
    r"auroc": "auroc",
    r"rocauc \d+-shot": "rocauc 10-shot",
}
MARKS = ("inductive", "transductive")
ROUNDING = 1e-9  # relative: an interval of equal numbers may miss their mean by it


def check_summary(summary: object) -> Summary:
    """Return the summary; raises unless every field holds what the schema allows and no label claims too much."""
    content = needed_fields(summary, "summary", FIELDS, ("curve", "trial", "fewshot"))
    for name in ("agent", "family", "machine", "command", "version"):
        text_of(content[name], name)
    text_of(content["variant"], "variant", empty=True)
    if content["split"] not in SPLIT_LABELS:
        raise MetaRLError(f"split={content['split']!r}; allowed are {', '.join(SPLIT_LABELS)}")
    if content["streams"] not in range(1, STREAMS + 1) or isinstance(content["streams"], bool):
        raise MetaRLError(f"streams={content['streams']!r}; allowed are 1 to {STREAMS}, and {STREAMS} is today's")
    if content["tuned_on"] not in TUNED_ON:
        raise MetaRLError(f"tuned_on={content['tuned_on']!r}; allowed are {', '.join(TUNED_ON)}")
    seeds = [whole_number(seed, "seeds") for seed in _list(content["seeds"], "seeds")]
    if not seeds or len(set(seeds)) < len(seeds):
        raise MetaRLError(f"seeds={seeds}; name each training seed once, at least one")
    steps = whole_number(content["steps"], "steps")
    if _number(content["wall_seconds"], "wall_seconds") < 0:
        raise MetaRLError(f"wall_seconds={content['wall_seconds']}; give the seconds a seed took, 0 or more")
    if "curve" in content:
        _check_curve(_list(content["curve"], "curve"))
    if content.get("trial") is not None:
        trial = needed_fields(content["trial"], "trial", ("episodes", "return", "normalised"))
        whole_number(trial["episodes"], "trial.episodes")
        _check_scores(trial, "trial")
    if "fewshot" in content:
        _check_fewshot(content["fewshot"])
    names = [_check_figure(each, f"figures[{i}]", steps) for i, each in enumerate(_list(content["figures"], "figures"))]
    if len(set(names)) < len(names):
        raise MetaRLError(f"figures {names} repeat a name; give each figure once")
    return content


def _check_fewshot(content: object) -> None:
    counts = ("episodes", "iterations", "parameters", "adapt_bytes")
    about = needed_fields(content, "fewshot", ("mark", "adapt_seconds", *counts))
    if about["mark"] not in MARKS:
        raise MetaRLError(f"fewshot.mark={about['mark']!r}; allowed are {', '.join(MARKS)}")
    for name in counts:
        whole_number(about[name], f"fewshot.{name}")
    if _number(about["adapt_seconds"], "fewshot.adapt_seconds") < 0:
        raise MetaRLError(f"fewshot.adapt_seconds={about['adapt_seconds']}; give 0 or more")


def _check_curve(curve: list[Any]) -> None:
    if not curve:
        raise MetaRLError("curve=[]; leave it out, or give its points")
    order = []
    for i, point in enumerate(curve):
        where = f"curve[{i}]"
        content = needed_fields(point, where, ("episodes", "adaptations", "return", "normalised"))
        order.append(tuple(whole_number(content[name], f"{where}.{name}") for name in ("episodes", "adaptations")))
        _check_scores(content, where)
    if order != sorted(set(order)):
        raise MetaRLError(f"curve has (episodes, adaptations) {order}; list each point once, in increasing order")


def _check_scores(content: dict[str, Any], where: str) -> None:
    returns = needed_fields(content["return"], f"{where}.return", ("mean", "iqm", "low", "high"))
    _number(returns["iqm"], f"{where}.return.iqm")
    interval(returns, f"{where}.return", "mean")
    if content["normalised"] is not None:
        normalised = needed_fields(content["normalised"], f"{where}.normalised", ("mean", "low", "high"))
        interval(normalised, f"{where}.normalised", "mean")


def _check_figure(figure: object, where: str, steps: int) -> str:
    content = needed_fields(figure, where, FIGURE)
    name = text_of(content["name"], f"{where}.name")
    if not any(re.fullmatch(pattern, name) for pattern in FIGURE_NAMES):
        raise MetaRLError(f"{where}.name={name!r}; figures have fixed names: {', '.join(FIGURE_NAMES.values())}")
    interval(content, where, "value")
    low, high, target, published, budget = (content[key] for key in ("low", "high", "target", "published", "budget"))
    if isinstance(published, int | float):
        _number(published, f"{where}.published")
    if budget is not None:
        whole_number(budget, f"{where}.budget")
    if target is None and content["basis"] is not None:
        raise MetaRLError(f"{where}.basis={content['basis']!r} without a target; give both or neither")
    if target is not None:
        text_of(content["basis"], f"{where}.basis")
    try:
        if published is not None:
            published_number(published)
        if target is not None:
            satisfies(low, target)
        earned = earned_label(name, low, high, steps=steps, target=target, published=published, budget=budget)
    except MetaRLError as error:
        raise MetaRLError(f"{where}.{error}") from error
    if content["label"] != earned:
        raise MetaRLError(
            f"{where}: {name} in [{low:.6g}, {high:.6g}] after {steps} steps, with target {target}, published "
            f"{published} and budget {budget}, is labelled {content['label']!r}; label it {earned!r}"
        )
    return name


def needed_fields(value: object, where: str, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MetaRLError(f"{where} is {value!r}; it must be an object with {', '.join(required)}")
    missing = [name for name in required if name not in value]
    unknown = [str(name) for name in value if name not in (*required, *optional)]
    if missing or unknown:
        found = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        raise MetaRLError(f"{where} {' and '.join(found)}; its fields are {', '.join((*required, *optional))}")
    return value


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise MetaRLError(f"{where}={value!r}; it must be a list")
    return value


def text_of(value: object, where: str, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (empty or value.strip()):
        raise MetaRLError(f"{where}={value!r}; it must be text" + ("" if empty else ", and not empty"))
    return value


def whole_number(value: object, where: str) -> int:
    # bool is an int in Python, but true is no count.
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MetaRLError(f"{where} holds {value!r}; it must be a whole number, 0 or more")
    return value


def _number(value: object, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise MetaRLError(f"{where}={value!r}; it must be a finite number")
    return float(value)


def interval(content: dict[str, Any], where: str, middle: str) -> float:
    value, low, high = (_number(content[name], f"{where}.{name}") for name in (middle, "low", "high"))
    slack = ROUNDING * max(abs(low), abs(high))
    if not low - slack <= value <= high + slack:
        raise MetaRLError(f"{where}: {middle}={value} lies outside its interval [{low}, {high}]; give its own interval")
    return value
