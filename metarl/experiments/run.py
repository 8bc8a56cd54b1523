"""The run folders of agents.

runs/NAME/run.json, splits.json, and initial.safetensors where training started from weights; of an evaluation
  evaluation-SPLIT.json and .csv, curve-SPLIT.png, where there are paths
  overview-SPLIT.png, and where the agent has a belief beliefs-SPLIT.npz, probe-SPLIT.csv, belief-SPLIT.png (and where
  that is a Gaussian, posterior-SPLIT.png)
runs/NAME/seed-0/checkpoint.safetensors, progress.csv, TensorBoard events
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from metarl.algorithm.algorithm import Algorithm
from metarl.algorithm.registry import agent_class
from metarl.core.checkpoint import check_owner, config_from, load_checkpoint
from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.core.plugins import AGENTS, FAMILIES, plugin_names, trusted, trusted_config
from metarl.core.process import log_mujoco_in
from metarl.experiments.extending import continued, weights_at
from metarl.experiments.options import Report, TrainingOptions, check_seeds
from metarl.experiments.run_folder import RunFolder, new_id
from metarl.experiments.saving import CheckpointSaver
from metarl.family import TaskFamily, make_family
from metarl.tasks import Split

_SPLITS = "splits.json"
_INITIAL = "initial.safetensors"


@dataclass(frozen=True)
class Run(RunFolder):
    """A run folder of an agent; ``agent`` and ``family_name`` are as they were given, as ``module:id`` perhaps."""

    about_file: ClassVar[str] = "run.json"
    called: ClassVar[str] = "run folder"
    trained_by: ClassVar[str] = "metarl train AGENT FAMILY"
    unit: ClassVar[str] = "steps"
    path: Path
    agent: str
    family_name: str
    variant: str
    config: Any
    seeds: tuple[int, ...]
    command: str
    id: str = ""
    blocks: int | None = None
    init_from: str = ""  # where the weights that training starts from were taken from
    engine: str = ""  # of the family; its usual one unless given

    @classmethod
    def create(
        cls,
        path: Path,
        agent: str,
        family: str,
        variant: str | None,
        config: Any,
        seeds: Sequence[int] | None = None,
        command: str = "",
        *,
        resume: bool = False,
        overwrite: bool = False,
        length: int | None = None,
        blocks: int | None = None,
        init_from: Path | None = None,
        engine: str | None = None,
    ) -> "Run":
        """Make the folder, or with ``resume`` open the one that is there, which must be of the same making.

        A run that was killed before its folder was made begins anew, so that a job may always say ``--resume``.

        Args:
            path: of the folder.
            agent: its name, or ``module:Class``.
            family: its id, or ``module:id``.
            variant: of the family; its first unless given.
            config: of the agent.
            seeds: to train, 0 unless given; a run that is resumed gets those that it lacks.
            command: that made the run.
            resume: whether a run that is there goes on.
            overwrite: whether it is replaced.
            length: steps of training in place of the config's; a run that is resumed goes on to them.
            init_from: a run, a published result or a file, whose weights training starts from.
            blocks: into which task rows are cut, so that several processes may share them; a run that is resumed has
                those that it was made with.
            engine: of the family; its usual one unless given.
        """
        made = make_family(family, variant, engine)
        check_seeds(chosen := (0,) if seeds is None else tuple(seeds))
        facts = (new_id(), blocks, str(init_from or ""), engine or "")
        run = cls(path, agent, family, made.variant, config, chosen, command, *facts)
        if resume and cls.is_at(path):
            saved = cls.open(path, family=family, agent=agent, trust=plugin_names(config))
            run.check_same(saved, ("agent", "variant", *(["init_from"] if init_from else [])))
            if engine and engine != saved.engine:
                raise MetaRLError(f"{path} was not trained with --engine {engine}; resume it with its own command.")
            saved.family()  # raises where its split has changed since
            return continued(saved, config, () if seeds is None else seeds, length)
        if length is not None:
            config = replace(config, total_timesteps=length)
            run = replace(run, config=config)
        if blocks and not agent_class(agent).in_blocks:
            raise MetaRLError(f"The agent {agent} is trained in one process; leave out --processes and --blocks.")
        # Whatever is wrong with the family, its split or the agent shows here, before anything is written or removed.
        fresh, initial = agent_class(agent)(made, config), None
        if init_from is not None:
            file = weights_at(init_from)
            fresh.start_from(file)
            initial = file.read_bytes()
        split = made.splits
        # A kill between the two writes below leaves no more than the first behind.
        with run.in_making(overwrite, unfinished=(_SPLITS, _INITIAL)):
            split.save(path / _SPLITS)
            if initial is not None:  # a copy, for the run that it is of may go on
                write_atomic(path / _INITIAL, initial)
            about = {"agent": agent, "family": family, "variant": made.variant, "split": split.hash}
            more = {"init_from": run.init_from, "engine": run.engine}
            run.write_about(about | {name: value for name, value in more.items() if value})
        return run

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        family: str | None = None,
        agent: str | Sequence[str] = (),
        trust: str | Sequence[str] = (),
    ) -> Self:
        """Open the run in a folder; raises where there is none, or what it says of itself is damaged.

        Opening imports no module that is neither installed as a plug-in nor imported already, unless it is named:
        ``family`` as ``module:id``, ``agent`` as ``module:Class``, or several of which the run has one; ``trust`` as
        each ``module:Class`` that its config may name, such as a memory of one's own.
        """
        agents = [agent] if isinstance(agent, str) else list(agent)

        def made_of(path: Path, about: dict[str, Any]) -> Any:
            saved = about["family"]
            if family is not None and family.rpartition(":")[2] != saved.rpartition(":")[2]:
                raise MetaRLError(f"{path} holds family {saved}, not {family}; choose another --name.")
            file = path / cls.about_file
            names = {
                "agent": trusted(AGENTS, about["agent"], file, agents),
                "family": trusted(FAMILIES, saved, file, [] if family is None else [family]),
            }
            made = cls._from_about(path, {**about, **names})
            return replace(made, config=trusted_config(made.config, file, trust))

        return cls._open(path, made_of)

    @classmethod
    def _from_about(cls, path: Path, about: dict[str, Any]) -> Self:
        config_class = agent_class(about["agent"]).config_class
        if unknown := set(about["config"]) - {field.name for field in fields(config_class)}:
            raise MetaRLError(
                f"{path / cls.about_file} is of an older version of metarl: {config_class.__name__} has no "
                f"{', '.join(sorted(unknown))}; train anew."
            )
        config = config_from(config_class, about["config"])
        facts = (about["agent"], about["family"], about["variant"], config, tuple(about["seeds"]), about["command"])
        more = (about.get("blocks"), about.get("init_from", ""), about.get("engine", ""))
        return cls(path, *facts, about["id"], *more)

    @property
    def budget(self) -> int:
        return int(self.config.total_timesteps)

    @property
    def label(self) -> str:
        """Return the name of the agent in results."""
        return agent_class(self.agent).label(self.config)

    def family(self) -> TaskFamily:
        """Make the family; raises where its split is no longer the one that the run was trained with."""
        family = make_family(self.family_name, self.variant, self.engine)
        saved = Split.load(self.path / _SPLITS, family.tasks)
        if saved.hash != family.splits.hash:
            raise MetaRLError(
                f"{self.path} was trained with split {saved.hash}, but {family.name} has {family.splits.hash} now: the "
                "family has changed. Train anew, or go back to its version."
            )
        return family

    @property
    def resumable(self) -> bool:
        return self.family().exact

    def new_model(self, seed: int, device: str = "cpu") -> Algorithm:
        """Make one seed's agent as it was before training."""
        agent = agent_class(self.agent)(self.family(), self.config, seed=seed, device=device)
        agent.run_id = self.id
        return agent.start_from(self.path / _INITIAL) if self.init_from else agent

    def trained(self, seed: int, device: str = "cpu") -> Algorithm:
        """Load one seed's agent from its checkpoint."""
        return self.new_model(seed, device).restore(self.trained_checkpoint(seed))

    def about_training(self, seed: int) -> dict[str, Any]:
        """Return what one seed's checkpoint says of itself; raises where it is another run's or seed's."""
        about = load_checkpoint(self.trained_checkpoint(seed))[1]
        check_owner(self.checkpoint(seed), (about.get("run", ""), about["seed"]), (self.id, seed))
        return about

    def log_digest(self, seed: int) -> str:
        return str(self.about_training(seed)["log"])

    def trained_amount(self, seed: int) -> int:
        return int(self.about_training(seed)["num_timesteps"])

    def _amount(self, model: Algorithm) -> int:
        return model.num_timesteps

    def _train(
        self, model: Algorithm, logger: Logger, saver: CheckpointSaver, report: Report, options: TrainingOptions
    ) -> None:
        if not self.resumable and 0 < model.num_timesteps < self.budget:
            raise MetaRLError(
                f"the engine {self.engine} does not give equal numbers again, so that a training cannot be resumed "
                f"exactly; go on from its weights in a new run: --init-from {self.path} --name NAME."
            )
        model.rollouts.compile = options.compile
        if options.env_workers is not None:
            model.family.use_workers(options.env_workers)
        if model.parallel.leads:
            log_mujoco_in(self.seed_folder(model.seed))
        model.set_logger(logger)
        model.train_until(self.config.total_timesteps, _Checkpoints(saver, model.seed, report))


class _Checkpoints(BaseCallback):
    """Reports and perhaps saves after every iteration, and saves at the end."""

    def __init__(self, saver: CheckpointSaver, seed: int, report: Report) -> None:
        super().__init__()
        self._saver, self._seed, self._report = saver, seed, report

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        metrics: dict[str, float] = self.locals["metrics"]
        returns = [f"{value:.1f}" for name, value in metrics.items() if name.startswith("rollout/return")]
        self._report(self._seed, self.model.num_timesteps, "return " + " → ".join(returns))
        self._saver.save_if_due()

    def _on_training_end(self) -> None:
        self._saver.save()


def chosen_seed(run: RunFolder, seed: int | None) -> int:
    """Return a seed of a run, its first unless given; raise where it has none such."""
    if seed is not None and seed not in run.seeds:
        raise MetaRLError(f"{run.path} has no seed {seed}; choose one of {', '.join(map(str, run.seeds))}.")
    return run.seeds[0] if seed is None else seed
