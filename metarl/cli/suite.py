"""The commands ``metarl suite run | score | compare | publish | verify``."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from metarl.cli.agents import OwnCode
from metarl.cli.base import Command, show, show_saved
from metarl.cli.options import Names, Option, RunPaths, Seeds
from metarl.core.errors import MetaRLError
from metarl.experiments.signals import Interrupted

if TYPE_CHECKING:  # they take long to import
    from metarl.experiments.run import Run
    from metarl.suite.entries import Verdict
    from metarl.suite.protocol import Cell
    from metarl.suite.running import Entry

_OWN = "--config."


def split_config(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take ``--config.NAME VALUE ...`` out of the arguments; return the others, and "name=value" of each."""
    rest, options, values = [], [], None
    for word in arguments:
        if word.startswith(_OWN):
            name, given, value = word.removeprefix(_OWN).partition("=")
            values = [value] if given else []
            options.append((name.replace("-", "_"), values))
        elif values is None or word.startswith("--"):
            values = None
            rest.append(word)
        else:
            values.append(word)
    return rest, [f"{name}={','.join(values)}" if values else f"{name}=True" for name, values in options]


@dataclass(frozen=True, kw_only=True)
class SuiteRun(Command):
    """Train an agent as the protocol says, each family in a run folder; what is done already is left as it is.

    --config.X VALUE changes a setting of the agent on every family.
    """

    agent: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="AGENT")]
    """one that metarl agents lists, rl2-hypernetwork, or module:Class of your own"""
    tier: Option[int] = 1
    """1, on which a core takes some minutes a run, or 2"""
    family: Names = ()
    """some families in place of a tier; module:id of your own is unofficial"""
    variant: Option[str | None] = None
    """of your own family; its first unless given"""
    timesteps: Option[int | None] = None
    """steps of training on your own family; the protocol says how many on all others"""
    seed: Seeds = None
    """0 unless given; all of them on every family, first one seed of each"""
    name: Option[str | None] = None
    """name of the entry and its folder; the agent's unless given"""
    runs: Option[Path] = Path("runs/suite")
    """where the folders of entries are"""
    jobs: Option[int | None] = None
    """seeds side by side; as many as the cores allow unless given"""
    dry_run: Option[bool] = False
    """list what would be trained, what is done and how long the rest takes here"""
    quiet: Option[bool] = False
    """show no progress"""
    json: Option[bool] = False
    """print what was done, or a dry run, as JSON"""
    options: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()

    def run(self, command: str) -> None:
        import os

        from metarl.core.process import prepare_process
        from metarl.experiments.options import check_seeds
        from metarl.suite.protocol import chosen_cells, missing, own_cell, tier_cells
        from metarl.suite.running import Entry, entry_folder, train_entry

        prepare_process(1)
        own = [name for name in self.family if ":" in name]
        if own and self.timesteps is None:
            raise MetaRLError(f"{own[0]} is no part of the protocol; say how long to train on it: --timesteps N.")
        if not own and (self.timesteps is not None or self.variant is not None):
            raise MetaRLError("The protocol fixes variant and steps; --variant and --timesteps are of your own family.")
        official = [name for name in self.family if ":" not in name]
        cells = [own_cell(name, self.variant, self.timesteps or 0) for name in own]
        if official or not own:
            cells += chosen_cells(self.tier, official)
        check_seeds(seeds := (0,) if self.seed is None else self.seed)
        entry = Entry(self.agent, entry_folder(self.agent, self.name, self.runs), self.options)
        jobs = self.jobs or len(os.sched_getaffinity(0))
        absent = [] if self.family else missing(tier_cells(self.tier))
        if absent and not self.quiet and not self.json:
            print(f"Left out, for {absent[0].needs} is not installed: {', '.join(cell.name for cell in absent)}.")
        if self.dry_run:
            self._plan(entry, cells, seeds, jobs)
            return
        try:
            train_entry(entry, cells, seeds, command, jobs, quiet=self.quiet)
        except Interrupted as error:
            raise Interrupted(error.number, "Saved; the same command goes on.") from None
        own_words = [f"--family {name}" for name in own] + [f"--agent {self.agent}"] * (":" in self.agent)
        words = " ".join([f"metarl suite score {entry.folder}", *own_words, *["--unofficial"] * bool(own)])
        done = {"entry": str(entry.folder), "families": [cell.family for cell in cells], "seeds": list(seeds)}
        show(self.json, done, f"Trained {entry.folder}. Score it: {words}")

    def _plan(self, entry: "Entry", cells: "Sequence[Cell]", seeds: Sequence[int], jobs: int) -> None:
        from metarl.suite.tables import plan_table

        rows: list[tuple[str, int, str, float, float, bool]] = []
        for seed in seeds:
            for cell in cells:
                known = next((row for row in rows if row[0] == cell.name and row[5]), None)
                whole, left, now = (known[3], known[3], True) if known else entry.seconds(cell, seed)
                state = "done" if not left else "begun" if left < whole else "to do"
                rows.append((cell.name, seed, state, whole, left, now))
        names = ("family", "seed", "state", "seconds", "left", "measured")
        show(self.json, [dict(zip(names, row, strict=True)) for row in rows], plan_table(rows, jobs, entry.folder))


@dataclass(frozen=True, kw_only=True)
class SuiteScore(OwnCode):
    """Score the runs of an agent by the protocol, and write one file of scores."""

    paths: RunPaths
    """folders of runs or published results, or folders that hold those of an entry"""
    name: Option[str | None] = None
    """what the entry is called; its folder's name unless given"""
    unofficial: Option[bool] = False
    """score families that are no part of the protocol too, marked as unofficial"""
    output: Option[Path | None] = None
    """the file; scores.json in the entry's folder unless given"""

    def run(self, command: str) -> None:
        from metarl.core.process import prepare_process
        from metarl.suite.scores_file import SCORES, EntryScores
        from metarl.suite.scoring import cell_of, score_run
        from metarl.suite.tables import entry_table

        runs = _finished(self)
        prepare_process(self.more.threads)
        cells = [cell_of(run, unofficial=self.unofficial) for run in runs]
        scored = [score_run(run, cell, quiet=self.quiet)[0] for run, cell in zip(runs, cells, strict=True)]
        folder = runs[0].path.parent
        scores = EntryScores(agent=self.name or folder.name, cells=tuple(scored))
        scores.save(output := self.output or folder / SCORES)
        show(self.more.json, json.loads(scores.to_json()), entry_table(scores))
        show_saved([output], as_json=self.more.json)


@dataclass(frozen=True, kw_only=True)
class SuiteCompare(Command):
    """Compare two entries: who is probably ahead, and by how much."""

    paths: Annotated[RunPaths, tyro.conf.arg(metavar="SCORES SCORES")]
    """two files that metarl suite score wrote, or the folders that hold them"""
    json: Option[bool] = False
    """print the comparison as JSON"""

    def run(self, command: str) -> None:
        from metarl.suite.scores_file import EntryScores, compare_entries
        from metarl.suite.tables import pair_table

        if len(self.paths) != 2:
            raise MetaRLError(f"{len(self.paths)} files of scores were named; metarl suite compare takes two.")
        found = compare_entries(EntryScores.load(self.paths[0]), EntryScores.load(self.paths[1]))
        content = {
            "families": dict(zip(found.families, found.by_family, strict=True)),
            "improvement": asdict(found.improvement),
            "iqm_difference": asdict(found.difference),
        }
        show(self.json, content, pair_table(found))


@dataclass(frozen=True, kw_only=True)
class SuitePublish(OwnCode):
    """Score runs and write them as entries of the leaderboard, with their weights; then make results."""

    paths: RunPaths
    """folders of runs, or that of an entry, which holds them"""
    name: Option[str | None] = None
    """what the entry is called; its folder's name unless given"""
    results: Option[Path] = Path("results")
    """the folder of results"""

    def run(self, command: str) -> None:
        from metarl.core.process import prepare_process
        from metarl.suite.entries import publish

        runs = _finished(self)
        prepare_process(self.more.threads)
        name = self.name or runs[0].path.parent.name
        folders = [publish(run, name, self.results, quiet=self.quiet) for run in runs]
        show(self.more.json, [str(folder) for folder in folders], "\n".join(f"Wrote {folder}" for folder in folders))


@dataclass(frozen=True, kw_only=True)
class SuiteVerify(OwnCode):
    """Score the weights of entries again, and compare with what was published; exit code 1 where one differs."""

    paths: RunPaths
    """entries, such as results/suite/rl2/GridNavi, or folders that hold some"""

    def run(self, command: str) -> None:
        from metarl.core.process import prepare_process
        from metarl.suite.entries import verify

        runs = opened(self)
        prepare_process(self.more.threads)
        show_verdicts(verify(runs, quiet=self.quiet), as_json=self.more.json)


def show_verdicts(verdicts: "Sequence[Verdict]", *, as_json: bool) -> None:
    """Show how entries score again; end with exit code 1 where one is outside its interval."""
    from metarl.suite.tables import verdicts_table

    show(as_json, [each.facts for each in verdicts], verdicts_table(verdicts))
    if not all(each.holds for each in verdicts):
        raise SystemExit(1)


def opened(command: SuiteScore | SuitePublish | SuiteVerify) -> list["Run"]:
    """Open the runs that a command names."""
    from metarl.suite.scoring import runs_at

    if not command.paths:
        raise MetaRLError("Name the folder of an entry, such as runs/suite/rl2.")
    more = command.more
    return runs_at(command.paths, family=more.family, agent=more.agent, trust=more.trust)


def _finished(command: SuiteScore | SuitePublish) -> list["Run"]:
    """Open the runs that a command names, without those that are still to be trained, and say which they are."""
    from metarl.suite.scoring import finished

    done, begun = finished(opened(command))
    if begun and not command.quiet and not command.more.json:
        print(f"Left out, for no seed is trained to its end: {', '.join(run.path.name for run in begun)}.")
    return done
