"""Turn the evaluation of a run into a result: ``python scripts/publish.py runs/NAME``, then ``make results``.

A run folder is not committed; its small table, config, command, pictures and weights are.
"""

import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

import tyro

from metarl.core.errors import MetaRLError
from metarl.core.process import prepare_process
from metarl.experiments.fewshot_run import FewShotRun
from metarl.experiments.run import Run
from metarl.experiments.run_folder import UnfinishedRun
from results.publishing import publish_agent, publish_learner


def main(
    run: Annotated[Path, tyro.conf.Positional],
    results: Path = Path("results"),
    picture: Path | None = None,
    family: str | None = None,
    tasks: int | None = None,
    points: int | None = None,
    deterministic: bool = True,
    ablation: str | None = None,
    tuned_on: Literal["published recipe", "train", "val", "test"] | None = None,
    device: str = "cpu",
) -> int:
    """Evaluate a run on its test tasks and write its result.

    Args:
        run: a run folder of an agent or of a few-shot learner.
        results: the folder of results.
        picture: where to write paths and curve, for families in the plane.
        family: ``module:id`` of a family that is not installed; no module is imported that is not named so.
        tasks: number of test tasks, such as 100000 fresh trials of a bandit; the family's unless given.
        points: of the curve, such as the episodes of a trial; the agent's unless given.
        deterministic: score also extra episodes without exploration noise, which takes twice the time.
        ablation: "wiped" or "shuffled", as of ``metarl evaluate``.
        tuned_on: the split that the recipe was chosen by; as results/targets.py knows it unless given.
        device: to evaluate on, and to name as the machine that it was trained on.
    """
    prepare_process(1)
    warnings.simplefilter("error", UnfinishedRun)
    try:
        if FewShotRun.is_at(run):
            folder = publish_learner(FewShotRun.open(run), results, tuned=tuned_on, device=device)
        else:
            folder = publish_agent(
                Run.open(run, family=family),
                results,
                tasks=tasks,
                points=points,
                deterministic=deterministic,
                ablation=ablation,
                tuned=tuned_on,
                device=device,
                picture=picture,
            )
    except (MetaRLError, UnfinishedRun) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"Wrote {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
