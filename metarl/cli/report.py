"""The command ``metarl report``: runs on one page of HTML."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metarl.cli.base import Command, check_runs, show
from metarl.cli.fewshot_scoring import FewShotScoring
from metarl.cli.options import More, Names, Option, RunPaths
from metarl.core.errors import MetaRLError
from metarl.core.files import using


@dataclass(frozen=True, kw_only=True)
class _MoreOfReport:
    """These options are seldom needed."""

    device: More[str] = "cpu"
    """cpu, cuda, ..."""
    threads: More[int] = 1
    """torch threads"""
    json: More[bool] = False
    """print what was written as JSON"""
    family: More[str | None] = None
    """module:id of your own family, where a run was trained on one"""
    agent: More[Names] = ()
    """module:Class of your own agent, where a run trained one"""
    trust: More[Names] = ()
    """module:Class of your own memory or encoder, where a config names one"""
    learner: More[str | None] = None
    """module:Class of your own few-shot learner, where a run trained one"""
    backbone: More[str | None] = None
    """module:Class of your own backbone, likewise"""


@dataclass(frozen=True, kw_only=True)
class Report(Command):
    """Evaluate runs and show them on one page, which opens anywhere without a network.

    Of agents it has learning and adaptation curves, paths, beliefs, a film and a table of tasks; of few-shot learners
    an episode, features, calibration and the score by shots; of all of them the config and how to make them anew.
    """

    paths: RunPaths
    """run folders of agents or of few-shot learners, or those of published results with weights"""
    output: Option[Path] = Path("report.html")
    """the page"""
    split: Option[str] = "test"
    """val, test or ood"""
    tasks: Option[int | None] = None
    """number of test tasks of agents; the variant's unless given"""
    episodes: Option[int] = 200
    """scored episodes of few-shot learners"""
    shots: Option[tuple[int, ...]] = (1, 2, 5, 10)
    """labelled samples at which few-shot learners are scored for the curve"""
    films: Option[bool] = True
    """show agents before and after adaptation, unless --no-films"""
    quiet: Option[bool] = False
    """show no progress"""
    more: _MoreOfReport = field(default_factory=_MoreOfReport)

    def run(self, command: str) -> None:
        if not self.paths:
            raise MetaRLError("Name the run folders: metarl report RUN RUN ...")
        learners = [path for path in self.paths if _is_fewshot(path)]
        agents = [path for path in self.paths if path not in learners]
        check_runs(agents, "run folder", "run.json", "metarl train AGENT FAMILY")
        from metarl.core.device import check_device
        from metarl.core.files import write_atomic
        from metarl.core.process import prepare_process
        from metarl.report.page import page

        prepare_process(self.more.threads)
        check_device(self.more.device)
        parts = [*self._of_agents(agents), *map(self._of_learner, learners)]
        title = f"Report of {', '.join(path.name for path in self.paths)}"
        write_atomic(self.output, text := page(title, parts))
        done = {"report": str(self.output), "bytes": len(text.encode())}
        show(self.more.json, done, f"Saved {self.output}: {len(text.encode()) / 1e6:.1f} MB")

    def _of_agents(self, paths: list[Path]) -> list[Any]:
        if not paths:
            return []
        from metarl.evaluation.published import open_run
        from metarl.report.agents import agent_parts

        more = self.more
        runs = [open_run(path, family=more.family, agent=more.agent, trust=more.trust) for path in paths]
        return agent_parts(runs, self.split, self.tasks, more.device, films=self.films, quiet=self.quiet)

    def _of_learner(self, path: Path) -> Any:
        from metarl.evaluation.published import open_fewshot_run
        from metarl.report.fewshot import fewshot_part

        more = self.more
        run = open_fewshot_run(path, learner=more.learner, backbone=more.backbone)
        scoring = FewShotScoring(split=self.split, episodes=self.episodes, quiet=self.quiet)
        dataset = scoring.datasets(run)[0]
        made = scoring.evaluation(run, dataset)
        return fewshot_part(
            run, made, dataset, more.device, shots=self.shots, calibrated=self.episodes, quiet=self.quiet
        )


def _is_fewshot(path: Path) -> bool:
    """Return whether a folder is a run of a few-shot learner, or such a result."""
    with using(path):
        return (path / "fewshot.json").is_file() or path.resolve().parent.parent.name == "fewshot"
