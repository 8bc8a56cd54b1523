"""The commands ``metarl agents | train | compare | render``."""

import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import gymnasium
import tyro

from metarl.cli.base import (
    Command,
    MoreOfScoring,
    MoreOfTraining,
    ScoreCommand,
    TrainCommand,
    check_runs,
    save_comparison,
    show,
    show_saved,
)
from metarl.cli.options import FamilyName, More, Names, Option, RunPaths
from metarl.core.errors import MetaRLError, did_you_mean

if TYPE_CHECKING:  # it takes long to import
    from metarl.experiments.run import Run


@dataclass(frozen=True, kw_only=True)
class Agents(Command):
    """List the agents and their presets."""

    json: Option[bool] = False
    """print the list as JSON"""

    def run(self, command: str) -> None:
        from metarl.algorithm.listing import agents, agents_table

        listed = agents()
        show(self.json, [asdict(each) for each in listed], agents_table(listed))


@dataclass(frozen=True, kw_only=True)
class _MoreOfTraining(MoreOfTraining):
    """These options are seldom needed."""

    init_from: More[Path | None] = None
    """start from the weights of a run (its first seed's), a published result or a file, all of the same agent"""
    compile: More[bool] = False
    """rollouts of the torch engine as compiled steps, on a GPU as CUDA graphs; on a CPU that gains nothing"""
    env_workers: More[int | None] = None
    """processes that step the environments of a GymnasiumFamily; as many as it declares unless given"""
    engine: More[str | None] = None
    """what steps a MuJoCo family: mujoco on the CPU unless given, or warp on the device; needs the extra warp"""


@dataclass(frozen=True, kw_only=True)
class Train(TrainCommand):
    """Train an agent on a task family."""

    file_fields: ClassVar[dict[str, str | None]] = {
        "agent": None,
        "family": None,
        "variant": "--variant",
        "engine": "--engine",
    }
    agent: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="AGENT")]
    """one that metarl agents lists, or module:Class of your own"""
    family: FamilyName
    """id, or module:id for one of your own"""
    variant: Option[str | None] = None
    """the family's variant; its first unless given"""
    timesteps: Option[int | None] = None
    """environment steps of training, in place of the preset's; a run that is resumed goes on to so many"""
    more: _MoreOfTraining = field(default_factory=_MoreOfTraining)

    @classmethod
    def default_config(cls, name: str, preset: str) -> Any:
        from metarl.algorithm.registry import agent_class

        presets = agent_class(name).presets
        if preset not in presets:
            raise MetaRLError(
                f"Agent {name!r} has no preset {preset!r}; choose one of {', '.join(presets)}."
                f"{did_you_mean(preset, presets)}"
            )
        return presets[preset]

    @classmethod
    def presets(cls, name: str) -> list[str]:
        from metarl.algorithm.listing import presets_lines

        return presets_lines(name)

    def run(self, command: str) -> None:
        from metarl.family import make_family

        if self.more.env_workers is not None:
            make_family(self.family, self.variant).use_workers(self.more.env_workers)  # raises where it has none
        # A family that is not installed is imported only where it is named.
        own = f" --family {self.family}" if ":" in self.family else ""
        scored_by = f"Score it on held-out tasks: metarl evaluate RUN{own}"
        self.train_together(command, scored_by, compile=self.more.compile, env_workers=self.more.env_workers)

    def make(self, command: str, *, resume: bool, overwrite: bool, blocks: int | None) -> "Run":
        from metarl.experiments.run import Run

        family = self.family.rsplit("/", 1)[-1].rsplit("-v", 1)[0].replace(":", "-")
        made_of = (self.agent, self.family, self.variant, self.config, self.seed)  # type: ignore[attr-defined]  # added by main
        path = self.run_path(self.agent, family, self.variant)
        return Run.create(
            path,
            *made_of,
            command,
            resume=resume,
            overwrite=overwrite,
            length=self.timesteps,
            init_from=self.more.init_from,
            blocks=blocks,
            engine=self.more.engine,
        )


@dataclass(frozen=True, kw_only=True)
class _MoreOfScoring(MoreOfScoring):
    """These options are seldom needed."""

    family: More[str | None] = None
    """module:id of your own family, where the run was trained on one"""
    agent: More[Names] = ()
    """module:Class of your own agent, where it trained one"""
    trust: More[Names] = ()
    """module:Class of your own memory or encoder, where its config names one"""
    env_workers: More[int | None] = None
    """processes that step the environments of a GymnasiumFamily; as many as it declares unless given"""
    engine: More[str | None] = None
    """mujoco or warp, in place of what a MuJoCo family was stepped by in training"""


@dataclass(frozen=True, kw_only=True)
class OwnCode(ScoreCommand):
    """The names that runs of one's own code are opened with: nothing else is imported because a file names it."""

    more: _MoreOfScoring = field(default_factory=_MoreOfScoring)

    @staticmethod
    def check(*paths: Path) -> None:
        """Raise where a folder is no run."""
        check_runs(paths, "run folder", "run.json", "metarl train AGENT FAMILY")

    def open(self, path: Path) -> Any:
        """Open the run or the published result in a folder."""
        from metarl.evaluation.published import open_run

        run = open_run(path, family=self.more.family, agent=self.more.agent, trust=self.more.trust)
        return run if self.more.engine is None else replace(run, engine=self.more.engine)


@dataclass(frozen=True, kw_only=True)
class Compare(OwnCode):
    """Several runs in one table and one plot."""

    paths: RunPaths
    """run folders, or those of published results with weights"""
    reference_policies: Names = ()
    """reference policies of the family, scored beside the agents"""
    split: Option[str] = "test"
    """val, test or ood"""
    output: Option[Path] = Path("comparison.png")
    """the plot; beside it a CSV of the same name"""

    def run(self, command: str) -> None:
        if not self.paths:
            raise MetaRLError("Name the run folders: metarl compare RUN RUN ...")
        self.check(*self.paths)
        from metarl.core.device import check_device
        from metarl.core.process import prepare_process
        from metarl.evaluation.agent import held_out
        from metarl.evaluation.comparison import check_comparable, comparison_csv, comparison_json, comparison_table
        from metarl.evaluation.outcome import distinct, saved_or_new_outcome
        from metarl.evaluation.references import check_reference_policies, reference_evaluations
        from metarl.plotting.curves import comparison_figure
        from metarl.plotting.outcome import save_outcome_figures

        prepare_process(self.more.threads)
        check_device(self.more.device)
        runs = [self.open(path) for path in self.paths]
        family = runs[0].family() if self.reference_policies else None
        if family is not None:
            check_reference_policies(self.reference_policies, family)
        evaluations = []
        for run in runs:
            evaluation, outcome = saved_or_new_outcome(run, self.split, self.more.device, quiet=self.quiet)
            if outcome is not None and run.keeps_evaluations:
                save_outcome_figures(run, outcome)
            evaluations.append(evaluation)
        evaluations = distinct(evaluations, runs)
        check_comparable(evaluations)
        if family is not None:
            tasks = held_out(family, self.split)
            evaluations += reference_evaluations(self.reference_policies, evaluations, family, tasks, self.more.device)
        show(self.more.json, comparison_json(evaluations), comparison_table(evaluations))
        files = save_comparison(comparison_figure(evaluations), comparison_csv(evaluations), self.output)
        show_saved(files, as_json=self.more.json)


@dataclass(frozen=True, kw_only=True)
class Render(OwnCode):
    """A video of several tasks side by side."""

    what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|FAMILY")]
    """the folder of a run or a published result, whose agent plays before and after adaptation; or a family"""
    variant: Option[str | None] = None
    """the family's variant; its first unless given"""
    reference: Option[str] = "random"
    """without a run: random, or one of the family's own reference policies"""
    split: Option[str] = "test"
    """val, test or ood"""
    envs: Option[int] = 4
    """tasks side by side"""
    points: Option[int] = 2
    """of a run: 2 is before any adaptation and after one"""
    seed: Option[int | None] = None
    """of a run; its first unless given"""
    steps: Option[int | None] = None
    """of each episode; all unless given"""
    output: Option[Path] = Path("video.gif")
    """.gif, or .mp4 with the extra video"""

    def run(self, command: str) -> None:
        if not (":" in self.what or self.what in gymnasium.registry or re.search(r"-v\d+$", self.what)):
            self.check(Path(self.what))
        from metarl.core.process import prepare_process
        from metarl.evaluation.published import is_run
        from metarl.family import make_family
        from metarl.plotting.render import frames, render_reference, render_run
        from metarl.plotting.video import check_video, save_video

        check_video(self.output)
        prepare_process(self.more.threads)
        if is_run(self.what):
            film = render_run(
                self.open(Path(self.what)), self.split, self.envs, self.points, self.seed, quiet=self.quiet
            )
        else:
            film = render_reference(make_family(self.what, self.variant), self.reference, self.split, self.envs)
        pictures, fps = frames(film, self.steps, quiet=self.quiet), film.family.render_fps
        save_video(self.output, pictures, fps)
        done = {"video": str(self.output), "pictures": len(pictures), "fps": fps}
        show(self.more.json, done, f"Saved {self.output}: {len(pictures)} pictures, {fps} a second")
