"""Entries of the leaderboard: ``results/suite/NAME/FAMILY/``, from which anybody can score the weights again.

Each holds config.json, curve.csv, the weights of every seed and summary.json: scores, command, version and hash.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.core.plugins import plugin_names
from metarl.evaluation.published import PublishedRun
from metarl.evaluation.rows import Row, csv_of_rows, interval_text, number
from metarl.evaluation.scores import Evaluation
from metarl.evaluation.sums import record_sums
from metarl.evaluation.weights import remove_weights, save_weights
from metarl.experiments.run import Run
from metarl.suite.protocol import AGENTS, SEEDS, TIERS, VERSION, protocol_hash, tier_cells
from metarl.suite.running import cut_option
from metarl.suite.scores_file import EntryScores
from metarl.suite.scoring import CellScore, cell_of, done_seeds, score_run
from metarl.version import __version__

FOLDER = "suite"  # in the folder of results


class Verdict(NamedTuple):
    """What came of scoring an entry's weights again."""

    entry: str
    published: float
    anew: float
    words: str  # "the same", "inside its interval" or "OUTSIDE its interval"

    @classmethod
    def of(cls, entry: str, published: float, anew: float, interval: Sequence[float], *, same: bool) -> "Verdict":
        """Compare a new score with the published one, which has this interval; ``same`` is all that was scored."""
        inside = interval[0] <= anew <= interval[1]
        words = "the same" if same else f"{'inside' if inside else 'OUTSIDE'} its interval"
        return cls(entry, published, anew, words)

    @property
    def holds(self) -> bool:
        """Return whether the score is what was published, or differs by no more than its interval allows."""
        return not self.words.startswith("OUTSIDE")

    @property
    def facts(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {**self._asdict(), "holds": self.holds}


def publish(run: Run, name: str, results: Path, *, quiet: bool = True) -> Path:
    """Score a run and write it as an entry; returns the folder. Raises where it is no part of the protocol.

    An entry of the same config keeps the seeds that the run has not, so that they may be trained one after the other.

    Args:
        run: whose seeds that are trained to their end take part.
        name: of the entry.
        results: the folder of results.
        quiet: whether no progress is shown.
    """
    cell = cell_of(run)
    folder = results / FOLDER / name / cell.name
    earlier, own = _published(folder, run), done_seeds(run)
    score, evaluation = score_run(run, cell, more=earlier, quiet=quiet)
    remove_weights(folder, but=set(score.seeds) - set(own))
    config = json.dumps(asdict(run.config), indent=2, sort_keys=True)
    write_atomic(folder / "config.json", config + "\n")
    write_atomic(folder / "curve.csv", _curve_csv(evaluation))
    save_weights(folder, replace(run, seeds=own))
    facts = {"agent": name, "command": _with_seeds(run.command, score.seeds), "version": __version__}
    content = {**facts, "protocol": VERSION, "hash": protocol_hash(), "cell": asdict(score)}
    write_atomic(folder / "summary.json", json.dumps(content, indent=2, allow_nan=False) + "\n")
    record_sums(results, folder)
    return folder


def _published(folder: Path, run: Run) -> PublishedRun | None:
    """Return what is published of the same agent and config by this protocol, if anything is."""
    try:
        _score_in(folder / "summary.json")
        found = PublishedRun.open(folder, family=run.family_name, agent=run.agent, trust=plugin_names(run.config))
    except MetaRLError:  # there is nothing, or it is damaged, or of another protocol: it is written anew
        return None
    same = (found.agent, found.variant, found.config) == (run.agent, run.variant, run.config)
    return found if same else None


def _with_seeds(command: str, seeds: Sequence[int]) -> str:
    """Return the command that trains all of these seeds."""
    before, behind = cut_option(shlex.split(command), "--seed")
    return shlex.join([*before, "--seed", *map(str, seeds), *behind])


def load_entries(results: Path) -> list[EntryScores]:
    """Return the scores of all entries, those of the protocol's agents first; raises where one is damaged."""
    found: dict[str, list[CellScore]] = {}
    order = {name: i for i, name in enumerate(AGENTS)}
    for file in sorted((results / FOLDER).glob("*/*/summary.json")):
        found.setdefault(file.parent.parent.name, []).append(_score_in(file))
    names = sorted(found, key=lambda name: (order.get(name, len(order)), name))
    return [EntryScores(agent=name, cells=tuple(found[name])) for name in names]


def verify(runs: Sequence[Run], *, quiet: bool = True) -> list[Verdict]:
    """Score the weights of entries again, which ``runs_at`` opens."""
    verdicts = []
    for run in runs:
        published = _score_in(run.path / "summary.json")
        anew, _ = score_run(run, cell_of(run), quiet=quiet)
        before, after = (float(np.mean(each)) for each in (published.mean, anew.mean))
        same = anew.mean == published.mean and anew.last == published.last
        name = f"{run.path.parent.name}/{run.path.name}"
        verdicts.append(Verdict.of(name, before, after, published.interval, same=same))
    return verdicts


def leaderboard(results: Path) -> str:
    """Return the leaderboard in Markdown, a table a tier; the cells of what has not been run are empty."""
    entries = load_entries(results)
    names = list(dict.fromkeys([*AGENTS, *(each.agent for each in entries)]))
    known = {each.agent: {cell.family: cell for cell in each.official} for each in entries}
    parts = []
    for tier in TIERS:
        cells = tier_cells(tier)
        if not cells:
            continue
        lines = [f"| agent | {' | '.join(cell.name for cell in cells)} | IQM |", "|" + " --- |" * (len(cells) + 2)]
        for name in names:
            mine = [known.get(name, {}).get(cell.family) for cell in cells]
            kept = tuple(each for each in mine if each is not None)
            total = ""
            if len(kept) == len(cells):
                iqm = EntryScores(agent=name, cells=kept).iqm()
                total = number(iqm.value, 3) + (f" {interval_text(iqm.interval, 3)}" if iqm.interval else "")
            lines.append(
                f"| {name} |" + "".join(f" {cell} |" if cell else " |" for cell in (*map(_shown, mine), total))
            )
        parts.append(f"### Tier {tier}\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _shown(score: CellScore | None) -> str:
    if score is None:
        return ""
    seeds = "" if len(score.seeds) >= SEEDS else f", {len(score.seeds)} seed{'s' * (len(score.seeds) > 1)}"
    mean, last = (number(float(np.mean(each)), 3) for each in (score.mean, score.last))
    return f"{mean} {interval_text(score.interval, 3)} ({last}{seeds})"


def _score_in(file: Path) -> CellScore:
    """Return the score that an entry's summary holds; raises where it is damaged, or of another protocol."""
    try:
        content = json.loads(file.read_text())
        made = CellScore(**{field.name: content["cell"][field.name] for field in fields(CellScore)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MetaRLError(f"{file} is no entry of the suite ({error!r}); restore or publish it.") from error
    if content.get("hash") != protocol_hash():
        raise MetaRLError(
            f"{file} is of protocol {content.get('protocol')} with hash {content.get('hash')}, and this is {VERSION} "
            f"with {protocol_hash()}; publish it again."
        )
    return made


def _curve_csv(evaluation: Evaluation) -> str:
    """Return one row a seed and point: what it earned beside floor and optimum, as means over tasks."""
    known = evaluation.references
    assert known is not None  # every cell has both
    floor, optimum = (array.mean(axis=1) for array in known)
    rows: list[Row] = [
        {
            "seed": seed,
            "episodes": episodes,
            "return": float(evaluation.returns[i, j].mean()),
            "floor": float(floor[j]),
            "optimum": float(optimum[j]),
        }
        for i, seed in enumerate(evaluation.seeds)
        for j, episodes in enumerate(evaluation.episodes)
    ]
    return csv_of_rows(rows)
