"""Configuration of MAML-RL and its literature presets."""

from dataclasses import dataclass, replace
from typing import Literal

from metarl.agents.maml.surrogates import Surrogate
from metarl.core.config import Limit, above, at_least, between, check_config
from metarl.core.errors import MetaRLError


@dataclass(frozen=True, kw_only=True)
class MAMLConfig:
    """MAML-RL. The defaults are our recipe for three inner steps; ``PRESETS`` holds the literature's."""

    total_timesteps: int = 14_000_000  # environment steps of training
    tasks: int = 20  # per meta-iteration
    episodes: int = 20  # per task and adaptation step, side by side
    gamma: float = 0.99
    gae_lambda: float = 1.0

    hidden: tuple[int, ...] = (64, 64)
    activation: Literal["tanh", "relu"] = "tanh"
    output_gain: float = 0.01  # of the output layer's orthogonal initialisation
    initial_std: float = 1.2  # of the Gaussian, in the policy's [-1, 1]

    inner: Surrogate = "lvc"
    inner_steps: int = 3
    inner_lr: float = 0.1  # initial value where step sizes are learned
    learn_step_sizes: bool = True  # one for every parameter element and step
    learn_std_shift: bool = True  # a learned shift of log std at every step: explore widely first, then less
    initial_std_shift: float = -0.7  # at the first step
    first_order: bool = False
    adapted_std: bool = True  # whether log std takes part in the inner gradient step

    outer: Literal["ppo", "trpo"] = "ppo"
    outer_steps: Literal["each", "last"] = "each"  # after which adaptation steps the outer loss is taken
    chunk: int | None = None  # tasks whose inner loop is differentiated at once; fewer take less memory

    learning_rate: float = 3e-3  # ppo: Adam
    final_learning_rate: float = 0.05  # ppo: fraction left at the end, falling linearly
    clip: float = 0.2  # ppo
    epochs: int = 2  # ppo: gradient steps per iteration
    inner_kl: float = 0.0  # ppo: penalty on KL(collected || new) before each adaptation (ProMP)

    max_kl: float = 0.01  # trpo
    cg_iterations: int = 10  # trpo
    cg_damping: float = 1e-5  # trpo
    line_search: int = 15  # trpo: most halvings
    backtrack: float = 0.8  # trpo
    curvature_fraction: float = 1.0  # trpo: share of the states that the Fisher products use, 1/n for every n-th

    def __post_init__(self) -> None:
        check_config(
            self,
            {
                "tasks": at_least(1),
                "episodes": at_least(1),
                "inner_steps": at_least(0),
                "gamma": above(0, up_to=1),
                "gae_lambda": between(0, 1),
                "inner_lr": above(0),
                "initial_std": above(0),
                "learning_rate": above(0),
                "epochs": at_least(1),
                "clip": above(0),
                "max_kl": above(0),
                "cg_iterations": at_least(1),
                "backtrack": Limit("above 0 and below 1", lambda value: 0 < value < 1),
                "curvature_fraction": Limit("1/n for every n-th state", _is_one_over_n),
                "hidden": at_least(1),
                "output_gain": above(0),
                "final_learning_rate": between(0, 1),
                "inner_kl": at_least(0),
                "cg_damping": at_least(0),
                "line_search": at_least(1),
                "chunk": at_least(1),
                "total_timesteps": at_least(1),
            },
        )
        if self.outer == "trpo" and self.outer_steps != "last":
            raise MetaRLError("MAMLConfig(outer='trpo') bounds the KL of the last adaptation; set outer_steps='last'.")
        if self.curvature_fraction < 1 and self.inner == "dice":
            raise MetaRLError(
                f"MAMLConfig(curvature_fraction={self.curvature_fraction}) leaves out steps, and DiCE needs them all; "
                "set inner='lvc' or 'loglik'."
            )


def _is_one_over_n(fraction: float) -> bool:
    return 0 < fraction <= 1 and abs(1 / fraction - round(1 / fraction)) < 1e-6


_LITERATURE = MAMLConfig(
    inner_steps=1,
    learn_step_sizes=False,
    learn_std_shift=False,
    initial_std=1.0,
    outer_steps="last",
)

PRESETS: dict[str, MAMLConfig] = {
    "default": MAMLConfig(),
    # Our recipe for the MuJoCo families, where a step costs a hundred times as much as on point navigation.
    "locomotion": MAMLConfig(tasks=6, initial_std=0.6, learning_rate=1e-3, epochs=4, total_timesteps=16_000_000),
    # pytorch-maml-rl on point navigation: 500 iterations of 20 tasks, plain log-likelihood in the inner step.
    "trpo": replace(_LITERATURE, outer="trpo", inner="loglik", total_timesteps=40_000_000),
    "trpo-subsampled": replace(
        _LITERATURE, outer="trpo", inner="loglik", total_timesteps=40_000_000, curvature_fraction=0.25
    ),
    # ProMP's configuration: 1001 iterations of 40 tasks.
    "promp": replace(
        _LITERATURE,
        tasks=40,
        learning_rate=1e-3,
        final_learning_rate=1.0,
        epochs=5,
        clip=0.3,
        inner_kl=5e-4,
        total_timesteps=160_160_000,
    ),
}
