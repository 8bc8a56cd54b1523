"""The zoo: trained agents and few-shot learners that come with the package, each with its published score.

From a clone of the repository it is ``results/suite`` and ``results/fewshot``; a wheel has a copy of their weights.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metarl.algorithm.algorithm import Algorithm
from metarl.core.errors import MetaRLError, did_you_mean
from metarl.evaluation.fewshot import evaluate_fewshot_run, setting_of
from metarl.evaluation.published import PublishedFewShotRun, PublishedRun
from metarl.evaluation.rows import interval_text, number
from metarl.evaluation.weights import weights_files
from metarl.experiments.run import chosen_seed
from metarl.fewshot.model import FewShot
from metarl.suite.entries import FOLDER, Verdict, verify

_FEWSHOT = "fewshot"


@dataclass(frozen=True)
class ZooEntry:
    """A published result with weights, such as ``rl2/GridNavi`` or ``maml-short/omniglot``."""

    path: Path

    @property
    def name(self) -> str:
        """Return what ``load`` calls it."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def is_learner(self) -> bool:
        """Return whether it is a few-shot learner rather than an agent."""
        return self.path.parents[1].name == _FEWSHOT

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds of which there are weights."""
        return tuple(weights_files(self.path))

    @property
    def _summary(self) -> Any:
        return json.loads((self.path / "summary.json").read_text())

    @property
    def score(self) -> str:
        """Return its published score with the 95% interval, in words."""
        summary = self._summary
        if self.is_learner:
            figure = summary["figures"][0]
            ends = interval_text((figure["low"], figure["high"]), 1)
            return f"{figure['name']} {number(figure['value'], 1)} {ends}"
        mean, ends = summary["cell"]["mean"], summary["cell"]["interval"]
        return f"{number(sum(mean) / len(mean), 3)} {interval_text(ends, 3)}"

    def open(self) -> PublishedRun | PublishedFewShotRun:
        """Open it as a run, which can be scored, compared and rendered."""
        return PublishedFewShotRun.open(self.path) if self.is_learner else PublishedRun.open(self.path)

    def scored_again(self, *, quiet: bool = True) -> Verdict:
        """Score the weights again, and say how that compares with what was published."""
        run = self.open()
        if isinstance(run, PublishedRun):
            return verify([run], quiet=quiet)[0]
        summary = self._summary
        figure = summary["figures"][0]
        spec = setting_of(figure["name"], functions="mse" in figure["name"])
        made = evaluate_fewshot_run(run, spec, summary["fewshot"]["episodes"], quiet=quiet)
        anew = made.at(made.adaptations[-1]).value
        before, interval = figure["value"], (figure["low"], figure["high"])
        return Verdict.of(self.name, before, anew, interval, same=anew == before)


def zoo_folder() -> Path:
    """Return the folder of what is published: the one in the wheel, else that of the repository."""
    package = Path(__file__).resolve().parent
    packed = package / "results"
    return packed if packed.is_dir() else package.parent / "results"


def zoo_entries(names: Sequence[str] = (), folder: Path | None = None) -> list[ZooEntry]:
    """Return the entries of these names, or all of them; raise where there is none such.

    Args:
        names: each AGENT/FAMILY or LEARNER/DATA.
        folder: of published results; ``zoo_folder()`` unless given.
    """
    folder = folder or zoo_folder()
    files = [file for kind in (FOLDER, _FEWSHOT) for file in sorted((folder / kind).glob("*/*/summary.json"))]
    known = {entry.name: entry for entry in (ZooEntry(file.parent) for file in files) if entry.seeds}
    for name in names:
        if name not in known:
            has = (
                f"whose {len(known)} entries metarl zoo lists" if known else f"which is empty: {folder} has no weights"
            )
            raise MetaRLError(f"{name} is not in the zoo, {has}.{did_you_mean(name, known)}")
    return [known[name] for name in names] if names else list(known.values())


def load(name: str, *, seed: int | None = None, device: str = "cpu") -> Algorithm | FewShot:
    """Return a trained agent or few-shot learner of the zoo. Nothing is unpickled, and nothing downloaded.

    Args:
        name: AGENT/FAMILY such as ``rl2/GridNavi``, or LEARNER/DATA such as ``maml-short/omniglot``; ``metarl zoo``
            lists them.
        seed: which of its seeds; the first unless given.
        device: where the model is to be.

    Raises:
        MetaRLError: where there is no such entry or seed.
    """
    run = zoo_entries([name])[0].open()
    return run.trained(chosen_seed(run, seed), device)
