"""What the fuzzing parts share: values that no one means, and a run of hypothesis that records rather than raises."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import hypothesis
import numpy as np
import torch
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from campaign.outcome import Kind, Trial, judged

ODD: list[Any] = [
    *(None, True, False, -1, 0, 1, 2, 3, 7, 10**30, -(10**30), 2**63, 2**31),
    *(0.0, -0.0, 0.5, 1.0, -0.5, 2.5, 1e308, 5e-324, 1e-30, float("nan"), float("inf"), float("-inf")),
    *("", "x", "auto", "1", "nan", "train", "test", "ood", "a\nb", "\x00", "é" * 300, b"x"),
    *(
        (),
        (0,),
        (-1,),
        (3, 4),
        (2.5,),
        ("a",),
        (None,),
        ((1,),),
        (float("nan"),),
        (10**30,),
        [4],
        [],
        {},
        {"a": 1},
        {1},
    ),
    *(complex(1, 1), Decimal("NaN"), Fraction(1, 3), range(3), object, len),
    *(np.float32(0.5), np.int64(3), np.float64("nan"), np.array([1, 2]), np.array(["a"]), np.zeros((0, 2))),
    *(np.array([None]), np.ma.masked, torch.tensor(1.0), torch.tensor([1.0, 2.0])),
]


def odd() -> st.SearchStrategy[Any]:
    """Anything: wrong types, NaN, infinities, huge and negative numbers, None, strings, nested sequences."""
    plain = st.one_of(st.integers(), st.floats(), st.text(max_size=5), st.booleans(), st.none())
    nested = st.recursive(plain, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)
    return st.one_of(st.sampled_from(ODD), st.sampled_from(ODD), nested)


class Wrong(Exception):
    """A call has succeeded, and what it gave is wrong."""


def fuzzed(
    part: str, subject: str, examples: st.SearchStrategy[Any], call: Callable[[Any], Any], count: int, seed: int
) -> Iterator[Trial]:
    """So many examples; each is handed to ``call``, which may raise ``Wrong``, a MetaRLError, or nothing."""
    trials: list[Trial] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(examples)
    def example(drawn: Any) -> None:
        trials.append(_trial(part, subject, drawn, call))

    example()
    yield from trials


def _trial(part: str, subject: str, drawn: Any, call: Callable[[Any], Any]) -> Trial:
    kind: Kind
    wrong: list[str] = []

    def guarded() -> None:
        try:
            call(drawn)
        except Wrong as error:
            wrong.append(str(error))

    kind, words, _ = judged(guarded, 60.0)
    if wrong:
        kind, words = "wrong", wrong[0]
    try:
        shown = repr(drawn)
    except Exception as error:  # a value that cannot be shown is still a value
        shown = f"something without a repr ({error!r})"
    return Trial(part, subject, shown[:300], kind, words)
