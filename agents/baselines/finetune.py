"""The baseline of fine-tuning a multi-task policy, which MAML's meta-gradient has to beat."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from metarl.adapt.gradient import STEP_SIZE
from metarl.agents.maml.agent import MAML
from metarl.agents.maml.config import MAMLConfig
from metarl.core.config import Limit, above, at_least, check_config, items
from metarl.core.random import stream_keys
from metarl.core.types import Params
from metarl.evaluation.driver import adaptation_curve


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig(MAMLConfig):
    """Settings of fine-tuning: MAML's without inner steps in training, on as many environment steps."""

    tasks: int = 40
    inner_steps: int = 0
    learn_step_sizes: bool = False
    learn_std_shift: bool = False
    outer_steps: Literal["each", "last"] = "last"
    step_sizes: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)  # step sizes of the fine-tuning, of which the best is kept
    choice_tasks: int = 40  # training tasks on which it is chosen
    choice_points: int = 4  # points of the adaptation curve whose mean return decides, the first left out

    def __post_init__(self) -> None:
        super().__post_init__()
        check_config(
            self,
            {
                "inner_steps": Limit("0, for maml is what adapts in training", lambda value: value == 0),
                "step_sizes": items(above(0)),
                "choice_tasks": at_least(1),
                "choice_points": at_least(2),
            },
        )


class FineTune(MAML):
    """Trains MAML's policy by plain multi-task policy gradient, and fine-tunes it by MAML's gradient steps.

    After training, the step size that adapts best on training tasks is kept, and those episodes are not counted.
    """

    name = "finetune"
    config_class = FineTuneConfig
    presets: ClassVar[Mapping[str, MAMLConfig]] = {
        "default": FineTuneConfig(),
        # As many episodes an iteration as MAML's preset of that name, before and after its three steps.
        "locomotion": FineTuneConfig(
            tasks=24, initial_std=0.6, learning_rate=1e-3, epochs=4, total_timesteps=16_000_000
        ),
    }
    uses: ClassVar[Mapping[str, tuple[str, float]]] = {
        "default": ("small families, PointNavigation for one", 1),
        "locomotion": ("MuJoCo families", 20),
    }
    config: FineTuneConfig

    def init_params(self, generator: torch.Generator) -> Params:
        params = super().init_params(generator)
        return self._with_step_size(params, self.config.step_sizes[0])

    def after_training(self) -> None:
        tasks = self.family.splits.train(stream_keys(self.config.choice_tasks, self.seed, "choose"))
        keys = stream_keys(len(tasks) * self.n_envs, "choose", self.family.name, self.seed)

        def score(size: float) -> float:
            curve = adaptation_curve(
                self.learner,
                self._with_step_size(self.params, size),
                self.family,
                tasks,
                points=self.config.choice_points,
                n_envs=self.n_envs,
                keys=keys,
                device=self.device,
                deterministic=False,
                context=self.rollouts,
            )
            return float(curve.returns[1:].mean())

        self.params = self._with_step_size(self.params, max(self.config.step_sizes, key=score))

    def _with_step_size(self, params: Params, size: float) -> Params:
        adapted = self.learner.inner.adapted(params)
        return {**params, **{STEP_SIZE + name: torch.full_like(value, size)[None] for name, value in adapted.items()}}
