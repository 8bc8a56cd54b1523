"""The command ``metarl evaluate``."""

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarl.cli.agents import OwnCode
from metarl.cli.base import results_folder, show, show_saved
from metarl.cli.options import Option, RunPath
from metarl.experiments.place import follows, is_one_of_several, own_device

if TYPE_CHECKING:  # they take long to import
    from metarl.core.parallel import TaskParallel
    from metarl.evaluation.outcome import Outcome

_CHUNKS = 1 << 30  # an evaluation has fewer chunks of tasks, each of which is a block of its own


@dataclass(frozen=True, kw_only=True)
class Evaluate(OwnCode):
    """Adapt to held-out tasks and score it."""

    path: RunPath
    """a run folder, or that of a published result with weights"""
    split: Option[str] = "test"
    """val, test or ood"""
    tasks: Option[int | None] = None
    """number of test tasks; the preset's unless given"""
    points: Option[int | None] = None
    """points of the curve: before adaptation, after one, ...; the agent's unless given"""
    deterministic: Option[bool] = True
    """extra episodes without exploration noise are scored too, unless --no-deterministic halves the time"""
    ablation: Option[str | None] = None
    """wiped: a memory begins every episode anew; shuffled: other agents adapt to episodes of another task"""
    processes: Option[int | None] = None
    """processes of this machine that share the tasks, which are played 2,000 at a time: the same scores, sooner"""
    protocol: Option[bool] = False
    """score success as Meta-World does: 10 episodes to adapt, then 3 on each task, environment by environment"""
    output: Option[Path | None] = None
    """folder for the files; the run folder unless given, and none of a published result's"""

    def run(self, command: str) -> None:
        self.check(self.path)
        if self.processes is not None and not is_one_of_several():
            from metarl.experiments.launching import launch

            launch(shlex.split(command)[1:], self.processes)
            return
        from metarl.core.process import prepare_process
        from metarl.evaluation.outcome import save_outcome
        from metarl.evaluation.tables import curve_table, evaluation_json

        prepare_process(self.more.threads)
        run = self.open(self.path)
        if self.protocol:
            self._by_protocol(run)
            return
        outcome = self._outcome(run, command)
        if follows():
            return
        show(self.more.json, evaluation_json(outcome.evaluation), curve_table(outcome.evaluation))
        sys.stdout.flush()  # matplotlib takes longer to come
        files = []
        if run.keeps_evaluations or self.output is not None:
            from metarl.plotting.outcome import save_outcome_figures

            files = [*save_outcome(run, outcome, self.output), *save_outcome_figures(run, outcome, self.output)]
        show_saved(files, as_json=self.more.json)

    def _outcome(self, run: Any, command: str) -> "Outcome":
        """Score the run, in one process or as one of several."""
        from metarl.evaluation.outcome import evaluate_run

        def score(device: str, parallel: "TaskParallel | None" = None) -> "Outcome":
            return evaluate_run(
                run,
                self.split,
                self.tasks,
                self.points,
                device,
                deterministic=self.deterministic,
                ablation=self.ablation,
                quiet=self.quiet or follows(),
                env_workers=self.more.env_workers,
                parallel=parallel,
            )

        if not is_one_of_several():
            return score(self.more.device)
        from metarl.experiments.team import joined

        facts = {"checkpoints": run.fingerprint(), "command": command}
        with joined(facts, own_device(self.more.device)) as team:
            return score(team.device, team.parallel(_CHUNKS))

    def _by_protocol(self, run: Any) -> None:
        from metarl.evaluation.protocol import evaluate_protocol

        scores = evaluate_protocol(run, self.split, self.tasks, self.more.device, quiet=self.quiet)
        show(self.more.json, json.loads(scores.to_json()), scores.table())
        if (folder := results_folder(run, self.output)) is not None:
            scores.save(folder / f"protocol-{self.split}.json")
