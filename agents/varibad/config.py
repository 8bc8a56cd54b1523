"""Configuration of VariBAD and its presets."""

from dataclasses import dataclass

from metarl.agents.rl2.config import RL2Config
from metarl.core.config import above, at_least, between, check_config, items
from metarl.core.errors import MetaRLError


@dataclass(frozen=True, kw_only=True)
class VariBADConfig(RL2Config):
    """RL²'s settings, and the belief's. The defaults are our recipe for GridNavi."""

    total_timesteps: int = 5_000_000  # environment steps of training
    tasks: int = 64  # trials collected in an iteration, each on a task of its own
    epochs: int = 8  # its policy is a small network on beliefs that are computed once, so an epoch costs little

    latent: int = 5  # dimensions of the belief
    decoder: tuple[int, ...] = (64, 32)  # widths of the decoder's hidden layers
    vae_learning_rate: float = 2e-3  # Adam's, of memory, belief and decoder
    vae_updates: int = 6  # steps on the bound in an iteration
    vae_tasks: int = 32  # trials in such a step
    vae_beliefs: int = 12  # steps of a trial whose beliefs are decoded, drawn anew at every update
    vae_targets: int = 60  # steps of the trial that each of them has to explain
    kl_coef: float = 0.01  # weight of each belief's KL divergence from the one before it
    reward_coef: float = 1.0  # weight of the decoded rewards' squared error
    state_coef: float = 0.0  # weight of the decoded next observations' error; for families whose dynamics vary
    buffer: int = 1024  # last trials that the belief is trained on

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder and self.state_coef:
            raise MetaRLError(
                f"VariBADConfig(encoder={self.encoder!r}, state_coef={self.state_coef}): features that are trained are "
                "no target of a decoder; set state_coef=0."
            )
        check_config(
            self,
            {
                "latent": at_least(1),
                "decoder": items(at_least(1)),
                "vae_learning_rate": above(0),
                "vae_updates": at_least(1),
                "vae_tasks": between(1, self.buffer),
                "vae_beliefs": at_least(1),
                "vae_targets": at_least(1),
                "kl_coef": at_least(0),
                "reward_coef": at_least(0),
                "state_coef": above(0) if self.reward_coef == 0 else at_least(0),
                "buffer": at_least(1),
            },
        )


PRESETS: dict[str, VariBADConfig] = {
    "default": VariBADConfig(),
    # Comes to 69 in the third episode: it never searches the last seventh of the arc. No better: an entropy of .005;
    # slower learning from wider noise (57 after 30 million steps); noise that depends on the state (45); a bonus for
    # new pairs of place and belief (13: in an open plane it leads far away).
    "semicircle": VariBADConfig(total_timesteps=15_000_000, gamma=0.99, entropy_coef=0.001, buffer=512),
}
