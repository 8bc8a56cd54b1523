"""The command ``metarl fewshot trust``: calibration, and what is out of scope, on unseen tasks."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metarl.cli.base import results_folder, show, show_saved
from metarl.cli.fewshot_scoring import FewShotScoring
from metarl.cli.options import Option, RunPath
from metarl.core.errors import MetaRLError

if TYPE_CHECKING:  # they import torch
    from metarl.evaluation.fewshot_trust import Calibration
    from metarl.evaluation.rows import Row
    from metarl.experiments.fewshot_run import FewShotRun
    from metarl.fewshot.data.episodes import EpisodeSpec


@dataclass(frozen=True, kw_only=True)
class FewShotTrust(FewShotScoring):
    """Measure calibration, and how well what is out of scope is told, on tasks of unseen classes.

    A temperature is learned on training tasks; out of scope are CLINC150's own such sentences, or classes left out.
    """

    path: RunPath
    """a run folder, or that of a published result with weights"""
    output: Option[Path | None] = None
    """folder for the files; the run folder unless given, and none of a published result's"""

    def run(self, command: str) -> None:
        self.check(self.path)
        from metarl.core.files import write_atomic
        from metarl.evaluation.rows import interval_text, number, terminal_table
        from metarl.plotting.fewshot.trust import reliability_figure
        from metarl.plotting.style import save_figure

        run, spec, made, scopes = self.measured()
        rows = [each.row for each in made]
        content = {"command": command, "episode": asdict(spec), "calibration": rows, "out_of_scope": scopes}
        heads = ("seed", "temperature", "expected error", "after", "Brier", "after")
        cells = [[str(row["seed"]), *(number(value) for name, value in row.items() if name != "seed")] for row in rows]
        show(self.more.json, content, terminal_table(heads, cells))
        if scopes and not self.more.json:
            cells = []
            for row in scopes:
                area, apart = (interval_text((row[f"{each}low"], row[f"{each}high"])) for each in ("", "difference_"))
                cells.append([row["score"], number(row["auroc"]), area, f"{row['difference']:+.2f}", apart])
            show(False, None, terminal_table(("out of scope by", "AUROC", "", "against the nearest mean", ""), cells))
        if (folder := results_folder(run, self.output)) is not None:
            name = f"{spec.way}w{spec.shot}s" if spec.support is None else f"{spec.support}-samples"
            file = folder / f"trust-{self.split}-{name}.json"
            write_atomic(file, json.dumps(content, indent=2))
            picture = file.with_suffix(".png")
            save_figure(reliability_figure(made[0], title=f"{run.learner} on {run.dataset_name}, {name}"), picture)
            show_saved([file, picture], as_json=self.more.json)

    def measured(self) -> "tuple[FewShotRun, EpisodeSpec, list[Calibration], list[Row]]":
        """Return the run, the scored episodes, each seed's calibration, and the rows of what is out of scope."""
        from metarl.core.process import prepare_process
        from metarl.evaluation.fewshot_trust import calibration, scope_rows
        from metarl.fewshot.data.episodes import Classes
        from metarl.fewshot.data.other import is_named

        prepare_process(self.more.threads)
        run = self.open(self.path)
        if [name for name in self.data if not is_named(name, run.dataset_name)] or self.normalise_target:
            raise MetaRLError(
                "fewshot trust is of a run's own data set; --data and --normalise-target are for evaluate."
            )
        dataset = run.dataset()
        tasks = dataset.split(self.split)
        spec, told = self.spec(tasks), list[Any]()
        models = [run.trained(seed, self.more.device) for seed in run.seeds]
        made = [calibration(model, dataset, spec, self.episodes, self.split) for model in models]
        if isinstance(tasks, Classes):
            told = scope_rows(models[0], dataset, spec, self.episodes, self.split)
        return run, spec, made, told
