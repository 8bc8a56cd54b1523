"""The check of another engine: it compares, tells what it measured, and judges by the tolerance."""

import pytest
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.envs.navigation import PointNavigation
from metarl.family.base import EngineComparison
from metarl.family.checks.check import check_family
from metarl.tasks import Tasks


class TwoEngines(PointNavigation):
    """A family whose other engine is off by a given distance."""

    engine = "usual"
    off = 0.0

    def use_engine(self, engine: str) -> None:
        self.engine, self.not_promised = engine, ("equal numbers",)

    def compare_engines(self, tasks: Tasks, keys: Tensor, actions: Tensor) -> EngineComparison:
        return EngineComparison({"observation": 1e-5, "reward": self.off}, 1e-3, {}, (f"{len(tasks)} worlds",))


@pytest.mark.parametrize(("off", "problems"), [(1e-4, 0), (0.5, 1), (float("nan"), 1)])
def test_an_engine_is_judged_by_its_distance(off: float, problems: int) -> None:
    family = TwoEngines()
    family.off = off
    report = check_family(family, engine="other")
    assert report.checks == ["functions", "engines agree"]
    assert len(report.problems) == problems
    assert all("The reward differs by" in problem.what for problem in report.problems)
    assert report.measured == ["8 worlds"]
    assert str(report).endswith("  measured: 8 worlds\n  not promised: equal numbers")


def test_a_family_with_one_engine() -> None:
    with pytest.raises(MetaRLError, match=r"have several engines, .* has not; leave it out"):
        check_family("metarl/PointNavigation-v0", engine="warp")
