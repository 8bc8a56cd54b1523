"""The row of the tests that need a GPU, those of agreement with the CPU and of no synchronisation first."""

from pathlib import Path
from typing import Any

import pytest

from gpu.record import STOPPED, Job, Record

_ROOT = Path(__file__).resolve().parents[2]
# Parts of the names of the tests that run first, and that stand for the rest where time is short.
_FIRST = ("a_rollout_is_that_of_the_cpu", "no_rollout_waits_for_the_gpu", "training_is_that_of_the_cpu")
_MARGIN = 1.0  # seconds


def measure(job: Job, record: Record) -> None:
    """Run each test once, in order of value; what has passed before is not run again."""
    files = sorted(str(path) for path in (_ROOT / "tests").rglob("test_*.py") if "cuda" in path.read_text())
    plugin = _Plugin(job, record)
    # What a newer Python or NumPy advises against is no matter of the GPU.
    quiet = ["-W", "ignore::DeprecationWarning", "-W", "ignore::FutureWarning"]
    options = ["-q", "-p", "no:cacheprovider", "-m", "gpu", "--tb", "short", *quiet, "--rootdir", str(_ROOT)]
    code = pytest.main([*options, "--continue-on-collection-errors", *files], plugins=[plugin])
    plugin.write()
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"pytest ended with {code!r}")
    if plugin.waiting:
        record.state(state=STOPPED)


class _Plugin:
    """Orders pytest's tests, and writes down each outcome at once."""

    def __init__(self, job: Job, record: Record) -> None:
        self.job, self.record = job, record
        self.outcomes: dict[str, str] = dict(record.content.get("outcomes", {}))
        self.waiting: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that cannot be imported, which costs its own tests alone."""
        if report.failed:
            self.record.missing(report.nodeid, _reason(report))

    @pytest.hookimpl(trylast=True)  # after pytest has selected by marker
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Order the tests, without those that have passed."""
        items[:] = sorted((item for item in items if self.outcomes.get(item.nodeid) != "passed"), key=_place)
        self.waiting = [item.nodeid for item in items]

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin no test when time is up."""
        if self.job.left(_MARGIN) < 0:
            pytest.exit("time is up", returncode=0)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the worst outcome of a test's set-up, call and teardown."""
        name = report.nodeid
        if name in self.waiting:
            self.waiting.remove(name)
            self.outcomes.pop(name, None)  # of the run before
        if report.failed:
            self.record.content["missing"][name] = _reason(report)
        elif report.when == "call":
            self.record.content["missing"].pop(name, None)
        if report.failed or report.skipped or (report.when == "call" and name not in self.outcomes):
            self.outcomes[name] = report.outcome
            self.record.content["outcomes"] = self.outcomes
            self.record.point("tests", passed=self._count("passed"), failed=self._count("failed"))

    def write(self) -> None:
        """Write the counts."""
        self.record.content["outcomes"] = self.outcomes
        for outcome in ("passed", "failed", "skipped"):
            self.record.number(outcome, self._count(outcome), "tests")
        self.record.number("not reached", len(self.waiting), "tests")

    def _count(self, outcome: str) -> int:
        return list(self.outcomes.values()).count(outcome)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return the error in a line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(report.longrepr).strip().splitlines() if crash is None else crash.message.splitlines()[:1]
    return str(lines[-1]).removeprefix("E").strip()[:300] if lines else "an error without a word"


def _place(item: Any) -> int:
    """Return the place of a test in the order."""
    places = [i for i, name in enumerate(_FIRST) if name in item.nodeid]
    return places[0] if places else len(_FIRST)
