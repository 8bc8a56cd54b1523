"""The report of a check: what is said once, what waits, and what becomes of exceptions and of other engines."""

# ruff: noqa: ARG001  # the functions here stand in for methods, whose arguments are given

from collections.abc import Callable
from typing import Any

import gymnasium
import pytest
import torch
from gymnasium.spaces import Box
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.envs.engine.torch import TorchBatch, TorchFamily
from metarl.family import family_class, register_family
from metarl.family.checks.check import Problem, Report, check_family, check_variants
from metarl.rollout.batch import Step


class WideRewards(TorchBatch):
    """Rewards have an axis too many."""

    def step(self, action: Tensor) -> Step:
        step = super().step(action)
        return step._replace(reward=step.reward[:, None])


def test_what_gymnasiums_checker_says_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def complain(env: gymnasium.Env[Any, Any]) -> None:
        gymnasium.logger.warn("A Box observation space minimum value is -infinity. This is probably too low.")
        gymnasium.logger.warn("the sky is falling")
        raise AssertionError("no\nground")

    monkeypatch.setattr("metarl.family.checks.views.check_env", complain)
    problems = [str(problem) for problem in check_family("check/Sound-v0").problems]
    assert problems == [
        "Gymnasium's check_env: it fails: no ground. Mend what it names.",
        "Gymnasium's check_env: it warns: the sky is falling. Mend what it names.",
    ]


def test_later_checks_wait_for_the_mending_of_earlier_ones(broken: Callable[..., str]) -> None:
    report = check_family(broken(reset=lambda self, task, u: {}))
    assert {problem.check for problem in report.problems} == {"functions"}
    assert "reference_policies" in report.skipped
    assert not set(report.skipped) & set(report.checks)
    assert f"{len(report.skipped)} left for later" in str(report)


def test_the_same_exception_is_reported_once(broken: Callable[..., str]) -> None:
    def counts_on_eight(self: Any, state: Any, task: Any) -> Tensor:
        return state["position"] + torch.zeros(8, 1, device=state["position"].device)

    report = check_family(broken(observe=counts_on_eight))
    failed = [problem for problem in report.problems if "RuntimeError at test_check_report.py" in problem.what]
    assert [problem.check for problem in failed] == ["chunked"]


def test_a_family_that_cannot_be_made_is_a_problem(broken: Callable[..., str]) -> None:
    report = check_family(broken(presets={"small": {"hoard": 3}}))
    assert [p.check for p in report.problems] == ["declaration"]
    assert "'hoard', which the family does not declare" in report.problems[0].what
    incomplete = register_family("check/Incomplete-v0")(type("Incomplete", (TorchFamily,), {}))
    assert "abstract" in str(check_family(incomplete.id))


def test_a_family_without_an_id_of_its_own_is_told_to_register() -> None:
    heir = type("Heir", (family_class("check/Sound-v0"),), {"__doc__": "Has the id of its parent."})
    report = check_family(heir())
    assert "@register_family" in str(report)


def test_a_batch_of_another_engine_is_checked_as_well(
    broken: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def batch(self: Any, tasks: Any, keys: Tensor, device: Any = "cpu", dtype: Any = torch.float32) -> TorchBatch:
        return WideRewards(self, tasks, keys, device, dtype)

    monkeypatch.setattr("metarl.family.checks.play.PURE", ("no such function",))
    assert check_family("check/Sound-v0").ok
    report = check_family(broken(batch=batch))
    assert "reward of the batch's step has shape (8, 1)" in str(report)


def test_every_variant_is_checked(broken: Callable[..., str]) -> None:
    half = broken(presets={"a": {}, "b": {"observation_space": Box(-1, 1, (2,))}})
    assert [report.ok for report in check_variants(half)] == [True, False]
    assert check_family(half).family == f"{half}:a"
    with pytest.raises(MetaRLError, match="choose one of a, b"):
        check_family(half, "c")


def test_a_report_reads_well() -> None:
    report = Report("me/Maze-v0:default", ["a", "b"], [], [Problem("a", "This is wrong.", "Mend it.")])
    assert str(report) == "me/Maze-v0:default: 1 problem (2 checks)\n  a: This is wrong. Mend it."
