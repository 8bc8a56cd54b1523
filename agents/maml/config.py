"""Configuration of MAML-RL and its literature presets."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from metarl.agents.maml.surrogates import Surrogate
from metarl.core.config import Count, Discount, Fraction, Limit, NonNegative, Positive, at_least, check_config
from metarl.core.errors import MetaRLError
from metarl.core.plugins import ENCODERS, plugin_field


@dataclass(frozen=True, kw_only=True)
class MAMLConfig:
    """Settings of MAML-RL: the defaults are our recipe for three inner steps, ``PRESETS`` holds the literature's."""

    total_timesteps: Count = 14_000_000  # environment steps of training
    schedule_timesteps: Count | None = None  # steps over which schedules run; all of training unless given
    tasks: Count = 20  # tasks of a meta-iteration
    episodes: Count = 20  # episodes of each task and adaptation step, side by side
    gamma: Discount = 0.99  # discount of rewards
    gae_lambda: Fraction = 1.0  # trace of generalised advantage estimation; 1 for returns minus the baseline
    # What the linear baseline is fitted to: the episodes that a task adapts to, or where these are few, all tasks of
    # the last iterations, over whose spread advantages are then taken.
    baseline: Literal["task", "shared"] = "task"

    encoder: str = plugin_field("", ENCODERS)  # module:Name that makes a torch module for an observation's shape
    hidden: tuple[Count, ...] = (64, 64)  # widths of the policy's hidden layers
    activation: Literal["tanh", "relu"] = "tanh"  # of the hidden layers
    output_gain: Positive = 0.01  # gain of the output layer's orthogonal initialisation
    initial_std: Positive = 1.2  # initial standard deviation of a Gaussian policy, in its [-1, 1]

    inner: Surrogate = "lvc"  # loss of the inner step: low variance curvature, DiCE or the plain log likelihood
    inner_steps: Annotated[int, at_least(0)] = 3  # gradient steps that adapt, each on new episodes
    inner_lr: Positive = 0.1  # step size of the inner step; its initial value where step sizes are learned
    learn_step_sizes: bool = True  # whether each parameter element and step has a learned step size (Li et al. 2017)
    learn_std_shift: bool = True  # whether each step has a learned shift of log std: explore widely first, then less
    initial_std_shift: float = -0.7  # initial shift of log std at the first step
    first_order: bool = False  # whether the outer gradient leaves out the second derivatives
    adapted_std: bool = True  # whether log std takes part in the inner gradient step

    outer: Literal["ppo", "trpo"] = "ppo"  # optimiser of the outer loop
    outer_steps: Literal["each", "last"] = "each"  # adaptation steps after which the outer loss is taken
    chunk: Count | None = None  # tasks whose inner loop is differentiated at once; fewer take less memory

    learning_rate: Positive = 3e-3  # ppo: Adam's step size
    final_learning_rate: Fraction = 0.05  # ppo: fraction of the step size left at the end, falling linearly
    clip: Positive = 0.2  # ppo: clipping range of the likelihood ratio (Schulman et al. 2017, equation 7)
    epochs: Count = 2  # ppo: gradient steps of a meta-iteration
    entropy_coef: NonNegative = 0.0  # ppo: weight of the entropy of the policies that the outer loss is taken of
    inner_kl: NonNegative = 0.0  # ppo: penalty on KL(collected || new) before each adaptation (ProMP)

    max_kl: Positive = 0.01  # trpo: bound on the mean KL of a step
    cg_iterations: Count = 10  # trpo: iterations of conjugate gradients
    cg_damping: NonNegative = 1e-5  # trpo: multiple of the identity added to the curvature
    line_search: Count = 15  # trpo: most step lengths that are tried
    backtrack: Annotated[float, Limit("above 0 and below 1", lambda value: 0 < value < 1)] = 0.8  # trpo: their ratio
    curvature_fraction: float = 1.0  # trpo: share of the states that the Fisher products use, 1/n for every n-th

    def __post_init__(self) -> None:
        check_config(self, {"curvature_fraction": Limit("1/n for every n-th state", _is_one_over_n)})
        if self.outer == "trpo" and self.outer_steps != "last":
            raise MetaRLError("MAMLConfig(outer='trpo') bounds the KL of the last adaptation; set outer_steps='last'.")
        if self.outer == "trpo" and self.entropy_coef:
            raise MetaRLError(
                f"MAMLConfig(outer='trpo', entropy_coef={self.entropy_coef}): that is PPO's; set it to 0."
            )
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

USES: dict[str, tuple[str, float]] = {  # preset -> what it is for, and the minutes of a seed on one core
    "default": ("small families, PointNavigation for one", 3.5),
    "locomotion": ("MuJoCo families", 30),
    "trpo": ("MAML-TRPO as in the literature", 32),
    "trpo-subsampled": ("the same, a quarter of its curvature", 14),
    "promp": ("ProMP as in the literature", 58),
}
