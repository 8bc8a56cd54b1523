"""Conditional neural processes: regression by inference, one pass and no gradient step."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from metarl.adapt.inference import TOTAL, Mean
from metarl.core.errors import MetaRLError
from metarl.core.modules import ModuleNetwork
from metarl.core.networks import MLP
from metarl.core.types import Outputs, Params, State
from metarl.fewshot.backbone import Backbone
from metarl.fewshot.config import FewShotConfig
from metarl.fewshot.data.dataset import DataSpec
from metarl.fewshot.data.episodes import Episodes, EpisodeSpec, Support
from metarl.fewshot.learners.base import SCALE, VALUE, FewShotLearner, error
from metarl.fewshot.learners.registry import register_fewshot

_ENCODER, _DECODER = "encoder.", "decoder."
_LEAST = 0.01  # of a standard deviation: functions without noise are known exactly where they were seen


@dataclass(frozen=True, kw_only=True)
class NeuralProcessConfig(FewShotConfig):
    """The settings of a neural process; ``width`` is that of its encoder and decoder, and there is no backbone."""

    iterations: int = 30_000
    tasks: int = 25
    episode: EpisodeSpec = field(default_factory=lambda: EpisodeSpec(way=1, shot=10, queries=10))
    width: int = 128
    counted: bool = False  # show the decoder how many samples were averaged, for supports of varied size


@register_fewshot("neural-process")
class NeuralProcess(FewShotLearner):
    """A conditional neural process (Garnelo et al. 2018, equations 3 to 6): points are encoded and averaged.

    The pooling is that of ``metarl.agents.pearl``; a decoder gives mean and standard deviation at any input.
    """

    any_way = of_numbers = True
    of_classes = False
    config_class = NeuralProcessConfig
    config: NeuralProcessConfig
    presets: ClassVar = {
        "ratings": NeuralProcessConfig(
            iterations=1200,
            tasks=16,
            episode=EpisodeSpec(way=1, shot=1, most_shot=20, queries=32),
            width=64,
            validate_every=100,
            counted=True,
        )
    }

    def __init__(self, n_inputs: int, n_outputs: int, width: int, *, counted: bool = False) -> None:
        if n_inputs < 1 or n_outputs < 1:
            raise MetaRLError(f"NeuralProcess(n_inputs={n_inputs}, n_outputs={n_outputs}): both must be at least 1.")
        self.config, self.pool = self.config_class(width=width, counted=counted), Mean(width)
        self.encoder = MLP((n_inputs + n_outputs, width, width, width), "relu", output_gain=1.0)
        self.decoder = MLP((width + counted + n_inputs, width, width, 2 * n_outputs), "relu", output_gain=0.1)

    @classmethod
    def make(cls, config: NeuralProcessConfig, data: DataSpec, way: int, backbone: Backbone) -> Self:  # noqa: ARG003
        if isinstance(backbone, ModuleNetwork):
            raise MetaRLError(f"{cls.name} has an encoder of its own and takes no backbone; leave {backbone.name} out.")
        return cls(data.n_inputs, data.outputs or 0, config.width, counted=config.counted)

    def init(self, generator: torch.Generator) -> Params:
        parts = ((_ENCODER, self.encoder), (_DECODER, self.decoder))
        return {prefix + name: value for prefix, net in parts for name, value in net.init(generator).items()}

    def initial(self, params: Params, n_tasks: int) -> State:
        return self.pool.initial(n_tasks, like=next(iter(params.values())).detach())

    def adapt(self, params: Params, state: State, support: Support) -> State:
        points = torch.cat([support.inputs.flatten(2), support.targets], -1)
        return self.pool.add(state, self.encoder(params, points, _ENCODER))

    def query(self, params: Params, state: State, inputs: Tensor) -> Outputs:
        """Return ``value`` and ``scale``, mean and standard deviation, each ``(task, sample, n_outputs)``."""
        seen = self.pool.read(state)
        if self.config.counted:
            seen = torch.cat([seen, state[TOTAL][..., -1:].log1p()], -1)
        seen = seen.expand(-1, inputs.shape[1], -1)
        mean, spread = self.decoder(params, torch.cat([seen, inputs.flatten(2)], -1), _DECODER).chunk(2, -1)
        return {VALUE: mean, SCALE: _LEAST + functional.softplus(spread + math.log(math.e - 1))}

    def loss(self, params: Params, episodes: Episodes) -> tuple[Tensor, Outputs]:
        """Return the negative log-likelihood of support and query in nats, a mean over samples, as the paper has it."""
        state = self.adapt(params, self.initial(params, len(episodes.support.targets)), episodes.support)
        inputs, targets = (torch.cat(pair, 1) for pair in zip(episodes.support, episodes.query, strict=True))
        outputs = self.query(params, state, inputs)
        # Unchecked, for a check reads from the device; training stops where a loss is not finite.
        normal = torch.distributions.Normal(outputs[VALUE], outputs[SCALE], validate_args=False)
        found = normal.log_prob(targets)
        queried = {VALUE: outputs[VALUE][:, episodes.support.inputs.shape[1] :]}
        return -found.mean((1, 2)), {"loss": error(queried, episodes.query.targets)}
