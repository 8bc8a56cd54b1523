"""Checks of what a family declares."""

from collections.abc import Iterator

import gymnasium
import numpy as np

from metarl.core.actions import parts
from metarl.core.errors import MetaRLError
from metarl.core.learner import MetaLearner
from metarl.family.base import TaskFamily
from metarl.family.checks.play import Checks, Found, Subject
from metarl.family.registry import family_class
from metarl.tasks import SplitRule, TaskSpace


def declaration(subject: Subject) -> Iterator[Found]:
    """Everything is declared, of the right kind, and fits together."""
    family, cls = subject.family, type(subject.family)
    if not cls.__doc__:
        yield (
            f"{cls.__name__} has no docstring.",
            "Say what an agent sees, does and is paid for; it becomes the family's page.",
        )
    yield from _registration(family)
    for name, low in (("horizon", 1), ("episodes_per_trial", 1)):
        value = getattr(family, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            yield f"{name} = {value!r} is no whole number of at least {low}.", f"Declare {name} as one."
    yield from _spaces(family)
    draws = getattr(family, "draws", (0, 0))
    if len(draws) != 2 or not all(isinstance(n, int) and n >= 0 for n in draws):
        yield f"draws = {draws!r}.", "Declare two counts: the uniforms that a reset needs, and those that a step needs."
    if not isinstance(family.split, SplitRule):
        yield f"split = {family.split!r} is no split rule.", "Use Fresh(), Disjoint() or Closed(), an instance."
    yield from _tasks(family)
    reference_policies = family.reference_policies()
    for name in ("floor", "optimum"):
        if (reference := getattr(family, name)) is not None and reference not in reference_policies:
            there = ", ".join(reference_policies) or "none"
            yield (
                f"{name} = {reference!r} is no reference policy of the family; it has {there}.",
                "Name one that reference_policies() returns.",
            )
    for reference, learner in reference_policies.items():
        if not isinstance(learner, MetaLearner):
            yield (
                f"ReferencePolicy {reference!r} is a {type(learner).__name__}.",
                "Make it a FunctionPolicy(choose), or subclass ReferencePolicy.",
            )


def _registration(family: TaskFamily) -> Iterator[Found]:
    cls = type(family)
    try:
        registered = family_class(family.id) if family.id else None
    except MetaRLError:
        registered = None
    if registered is not cls:
        yield f"{cls.__name__} has no id of its own.", 'Put @register_family("you/Name-v0") above the class.'


def _spaces(family: TaskFamily) -> Iterator[Found]:
    observation, action = family.observation_space, family.action_space
    if not isinstance(observation, gymnasium.spaces.Box):
        yield f"observation_space = {observation}.", "Make it a Box; give an index as a one-hot vector."
    try:
        _, box = parts(action)
    except MetaRLError:
        yield f"action_space = {action}.", "Make it a Discrete or a bounded Box, or a Tuple of one of each."
        return
    if box is not None and not np.isfinite([box.low, box.high]).all():
        yield (
            f"action_space = {action} is unbounded.",
            "Give it finite limits: policies act in [-1, 1], scaled to them.",
        )
    elif box is not None and not (box.low < box.high).all():
        yield f"action_space = {action} leaves an axis no room.", "Make low < high on every axis."


def _tasks(family: TaskFamily) -> Iterator[Found]:
    if not isinstance(family.tasks, TaskSpace):
        yield f"tasks = {family.tasks!r}.", "Declare TaskSpace(name=Uniform(low, high), ...)."
        return
    if family.ood is not None:
        if not isinstance(family.ood, TaskSpace):
            yield f"ood = {family.ood!r}.", "Declare a TaskSpace, or None."
            return
        ours, theirs = (
            {name: value.shape for name, value in space.parameters.items()} for space in (family.tasks, family.ood)
        )
        if ours != theirs:
            yield f"tasks has the parameters {ours}, ood has {theirs}.", "Give both the same names and shapes."
    try:
        family.default()
    except MetaRLError as error:
        yield f"default_task is no task: {error}", "Choose one inside the training space."


DECLARATION: Checks = {"declaration": declaration}
