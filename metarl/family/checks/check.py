"""The check whether a task family is what it says; every problem says what is wrong and how to mend it."""

import inspect
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metarl.core.errors import MetaRLError, NoGraphicsError
from metarl.family.base import TaskFamily
from metarl.family.checks.behaviour import BEHAVIOUR, SPLITS
from metarl.family.checks.declaration import DECLARATION
from metarl.family.checks.engine import ENGINE
from metarl.family.checks.functions import DEVICE, FUNCTIONS, PURITY
from metarl.family.checks.play import Checks, Subject
from metarl.family.checks.views import VIEWS
from metarl.family.registry import family_class, make_family

# A stage stands on the one before: what a broken reset does to a rollout would only hide what is broken.
STAGES: tuple[Checks, ...] = (
    DECLARATION,
    SPLITS,
    FUNCTIONS,
    PURITY,
    {**DEVICE, **BEHAVIOUR, **VIEWS},
)

OF_ENGINE: tuple[Checks, ...] = (FUNCTIONS, ENGINE)  # on another engine; the rest is the declaration's

GIVEN_SHAPES = (*FUNCTIONS, *PURITY, *DEVICE)  # checks that call reset, step and observe themselves


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a family."""

    check: str  # the name of the check that found it
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.check}: {self.what} {self.remedy}"


@dataclass
class Report:
    """The findings of the check of one variant."""

    family: str  # id:variant
    checks: list[str] = field(default_factory=list)  # names of those that ran
    skipped: list[str] = field(default_factory=list)  # not run, since they stand on one that found a problem
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what this machine cannot check, and why
    measured: list[str] = field(default_factory=list)  # what a check has measured, whether or not it is a problem
    not_promised: list[str] = field(default_factory=list)  # what the engine cannot promise, whatever the checks found

    @property
    def ok(self) -> bool:
        """Return whether nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        verdict = "ok" if self.ok else f"{len(self.problems)} problem{'s' * (len(self.problems) > 1)}"
        later = f", {len(self.skipped)} left for later" if self.skipped else ""
        lines = [f"{self.family}: {verdict} ({len(self.checks)} checks{later})"]
        lines += [f"  {problem}" for problem in self.problems] + [f"  not checked here: {note}" for note in self.notes]
        lines += [f"  measured: {each}" for each in self.measured]
        lines += [f"  not promised: {each}" for each in self.not_promised]
        return "\n".join(lines)


def check_family(family: str | TaskFamily, variant: str | None = None, engine: str | None = None) -> Report:
    """Check one variant of a family, or only how it fares on another ``engine``, and return a report.

    Raises only where there is no such family, variant or engine; whatever the family itself raises becomes a problem.
    """
    report = Report("")
    if isinstance(family, str):
        cls = family_class(family)
        if variant is not None and variant not in cls.variants():
            raise MetaRLError(f"{cls.id} has no variant {variant!r}; choose one of {', '.join(cls.variants())}.")
        report.family = f"{cls.id}:{variant or cls.variants()[0]}"
        try:
            family = make_family(family, variant)
        except Exception as error:  # a user's code may raise anything
            report.checks, report.problems = ["declaration"], [_from_exception("declaration", error, cls, "")]
            return report
    else:
        family = make_family(family, variant)
    if engine:
        family.use_engine(engine)
    report.family, report.not_promised = family.name, list(family.not_promised)
    _run(family, report, STAGES if family.engine == type(family).engine else OF_ENGINE)
    return report


def check_variants(family: str, engine: str | None = None) -> list[Report]:
    """Check every variant of a family."""
    return [check_family(family, variant, engine) for variant in family_class(family).variants()]


def _run(family: TaskFamily, report: Report, stages: tuple[Checks, ...]) -> None:
    subject, raised = Subject(family), set[str]()
    for checks in stages:
        if report.problems:
            report.skipped += checks
            continue
        for name, check in checks.items():
            report.checks.append(name)
            try:
                for what, remedy in check(subject):
                    report.problems.append(Problem(name, what, remedy))
            except NoGraphicsError as error:  # which is no fault of the family
                report.checks.remove(name)
                report.notes.append(f"{name}: {error}")
            except Exception as error:  # a user's code may raise anything
                problem = _from_exception(name, error, type(family), subject.shapes)
                place = problem.what.partition(": ")[0]
                if place not in raised:  # the same mistake stops many checks; once is enough
                    report.problems.append(problem)
                raised.add(place)
    report.measured = subject.measured


def _from_exception(check: str, error: Exception, cls: type[TaskFamily], shapes: str) -> Problem:
    """A problem that names the method of the family in which the exception arose, and its line."""
    functions = [value for base in cls.__mro__ if _is_users(base) for value in vars(base).values()]
    files = {function.__code__.co_filename for function in functions if inspect.isfunction(function)}
    frames = [(f, line) for f, line in traceback.walk_tb(error.__traceback__) if f.f_code.co_filename in files]
    text = " ".join(str(error).split())[:400]
    if isinstance(error, MetaRLError) and not frames:
        return Problem(check, text, "Mend the declaration that this names.")
    if not frames:
        last = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}: {text}"
        return Problem(check, what, "No method of the family is on the way there: see what it declares and returns.")
    method, line = frames[0][0].f_code.co_qualname.replace(".<locals>", ""), frames[-1][1]
    where = f"{Path(frames[-1][0].f_code.co_filename).name}:{line}"
    what = f"`{method}` raised {type(error).__name__} at {where}: {text}"
    given = f"; it is given {shapes}" if shapes and check in GIVEN_SHAPES else ""
    return Problem(check, what, f"Mend `{method}`{given}.")


def _is_users(base: type[Any]) -> bool:
    """Tell whether a base class is the family's own rather than the core's or an engine's."""
    core = base.__module__.startswith(("metarl.family.", "metarl.envs.engine"))
    return issubclass(base, TaskFamily) and not core
