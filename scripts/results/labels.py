"""What a figure has shown: one function that gives a label its word from interval, target and published figure."""

import re

from metarl.core.errors import MetaRLError

REPRODUCED, MET, NOISE, BELOW = "reproduced", "met", "within noise", "below"
_TARGET = re.compile(r"(>=|<=|>|<) (-?\d+(?:\.\d+)?)")
# What a paper printed for another setting has its words behind the number.
_PUBLISHED = re.compile(r"(-?\d+(?:\.\d+)?), \S.*")


def satisfies(value: float, target: str) -> bool:
    """Return whether a value reaches a target such as ">= 0.98"; raises MetaRLError where the target cannot be read."""
    match = _TARGET.fullmatch(target) if isinstance(target, str) else None
    if match is None:
        raise MetaRLError(f'target={target!r}; write a comparison and a number, such as ">= 0.98" or "<= 0.3"')
    bound = float(match[2])
    return {">=": value >= bound, "<=": value <= bound, ">": value > bound, "<": value < bound}[match[1]]


def published_number(published: float | str) -> float:
    """Return the number that a paper printed, without the words of its setting; raises where there is none."""
    if isinstance(published, int | float) and not isinstance(published, bool):
        return float(published)
    match = _PUBLISHED.fullmatch(published) if isinstance(published, str) else None
    if match is None:
        raise MetaRLError(
            f'published={published!r}; give what a paper printed: a number, "98.7, transductive", or null'
        )
    return float(match[1])


def lower_is_better(name: str) -> bool:
    """Return whether a figure of this name is an error rather than a return, an accuracy or a score."""
    return "mse" in name.split() or name == "rmse"


def earned_label(
    name: str,
    low: float,
    high: float,
    *,
    steps: int,
    target: str | None = None,
    published: float | str | None = None,
    budget: int | None = None,
) -> str | None:
    """Return the label that a figure has earned.

    "reproduced" where the interval reaches the published figure, or passes it. Otherwise the target decides: "met"
    where the whole interval satisfies it, "within noise" where the bound lies inside the interval, "below" where
    nothing of the interval satisfies it. A published figure that is not reached, with no target beside it, is "below".
    Where training stopped before the reference's budget nothing is reproduced or missed: the target's word is followed
    by "at N steps", which stands alone where there is no target.

    Args:
        name: of the figure; it says whether less is better.
        low: end of the interval.
        high: its other end.
        steps: environment steps, or tasks of a few-shot learner, that a seed was trained on.
        target: such as ">= 0.98".
        published: what a paper printed, if anything.
        budget: steps of the reference's training, if they are known.

    Returns:
        The label; None where there is neither a target nor a published figure.
    """
    early = budget is not None and steps < budget
    if published is not None and not early:
        known = published_number(published)
        if low <= known if lower_is_better(name) else high >= known:
            return REPRODUCED
    if target is None:
        return f"at {steps} steps" if early else None if published is None else BELOW
    word = {2: MET, 1: NOISE, 0: BELOW}[satisfies(low, target) + satisfies(high, target)]
    return f"{word}, at {steps} steps" if early else word
