"""Problems to optimise: an architecture on data, with sizes and data to train the rule on, and others to test it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from metarl.core.modules import ModuleNetwork
from metarl.core.random import torch_generator
from metarl.core.types import Outputs, Params
from metarl.fewshot.data.synthetic_characters import stroke_classes
from metarl.learned_optimizer.models import ARCHITECTURES

TRAINED = (
    "mlp-digits",
    "mlp-characters",
    "mlp-sinusoid",
    "cnn-digits",
    "cnn-characters",
    "gru-digits",
    "attention-characters",
)
UNSEEN = ("mixer-characters",)
TRAIN, TUNE, TEST = "train", "tune", "test"
_OUTPUTS = {"digits": 10, "characters": 20, "sinusoid": 1}
_POOL, _DRAWINGS, _SAMPLES = 200, 40, 800
_HELD_OUT = ((20, 1, 24), (40, 2, 40))
_SIZES = {  # split -> (width, depth, batch); Adam is tuned on the very sizes that it is tested on, with other data
    TRAIN: tuple(product((12, 16, 24, 32), (1, 2), (16, 32, 48))),
    TUNE: _HELD_OUT,
    TEST: _HELD_OUT,
}


@dataclass(frozen=True)
class FittingProblem:
    """A model to be fitted to several rows of data, each with an initial model of its own.

    ``inputs`` are ``(row, sample, *shape)`` and ``targets`` ``(row, sample)``: classes, or numbers if they are floats.
    """

    kind: str
    width: int
    depth: int
    batch: int
    inputs: Tensor
    targets: Tensor
    network: ModuleNetwork
    params: Params  # before the first step, (row, ...)

    def batches(self, steps: int, generator: torch.Generator) -> Tensor:
        """Draw the samples of each step ``(step, row, batch)``, with replacement."""
        rows, samples = self.targets.shape
        return torch.randint(samples, (steps, rows, self.batch), generator=generator)

    def loss(self, which: Tensor | None = None, copies: int = 1) -> Callable[[Params], tuple[Tensor, Outputs]]:
        """Return the loss of each row's model, as ``metarl.adapt.gradient.InnerLoop`` takes it.

        Args:
            which: samples of each row ``(row, n)``; all by default.
            copies: of each row, one block of rows after another, which see the same samples.
        """
        inputs, targets = self.inputs, self.targets
        if which is not None:
            rows = torch.arange(len(which))[:, None]
            inputs, targets = inputs[rows, which], targets[rows, which]
        inputs, targets = (torch.cat([each] * copies) for each in (inputs, targets))

        def losses(params: Params) -> tuple[Tensor, Outputs]:
            outputs = self.network(params, inputs)
            if targets.is_floating_point():
                made = (outputs[..., 0] - targets).square().mean(1)
            else:
                made = functional.cross_entropy(outputs.movedim(-1, 1), targets, reduction="none").mean(1)
            return made, {"losses": made}

        return losses


def sizes_of(split: str) -> tuple[tuple[int, int, int], ...]:
    """Return every width, depth and batch that a split has."""
    return _SIZES[split]


def make_problem(kind: str, split: str, size: tuple[int, int, int], rows: int, seed: int) -> FittingProblem:
    """Make a problem of a kind, ``ARCHITECTURE-DATA``; splits share neither characters, functions nor initial models.

    Args:
        kind: one of TRAINED or UNSEEN.
        split: ``train``, ``tune`` or ``test``; the digits of the first two are of one half of the images.
        size: width, depth and batch.
        rows: data sets and initial models.
        seed: of both; row i is the same whatever their number.
    """
    architecture, data = kind.split("-")
    made = [_data(data, split, torch_generator(seed, split, kind, row)) for row in range(rows)]
    inputs, targets = torch.stack([x for x, _ in made]), torch.stack([y for _, y in made])
    outputs = _OUTPUTS[data]
    network = _network(architecture, tuple(inputs.shape[2:]), size[0], size[1], outputs)
    starts = [network.init(torch_generator(seed, split, kind, "start", row)) for row in range(rows)]
    params = {name: torch.stack([start[name] for start in starts]) for name in starts[0]}
    return FittingProblem(kind, *size, inputs, targets, network, params)


@cache
def _network(architecture: str, shape: tuple[int, ...], width: int, depth: int, outputs: int) -> ModuleNetwork:
    return ModuleNetwork(partial(ARCHITECTURES[architecture], shape, width, depth, outputs), shape)


def _data(data: str, split: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    if data == "sinusoid":
        # Two waves, so that 200 steps do not fit them.
        amplitude, phase = 0.5 + torch.rand(2, 1, generator=generator), 6.3 * torch.rand(2, 1, generator=generator)
        frequency = torch.tensor([[0.8], [2.0]]) + torch.rand(2, 1, generator=generator)
        x = 6 * torch.rand(_SAMPLES, generator=generator) - 3
        return x[:, None] / 2, (amplitude * torch.sin(frequency * x + phase)).sum(0)
    if data == "digits":
        images, labels = _digits(split == TEST)
        chosen = torch.randperm(len(images), generator=generator)[:_SAMPLES]
        return images[chosen], labels[chosen]
    images = _characters((TRAIN, TUNE, TEST).index(split))
    classes = torch.randperm(len(images), generator=generator)[: _OUTPUTS[data]]
    labels = torch.arange(len(classes)).repeat_interleave(images.shape[1])
    return images[classes].flatten(0, 1), labels


@cache
def _digits(second_half: bool) -> tuple[Tensor, Tensor]:
    """Half of scikit-learn's digits: images ``(n, 8, 8)`` of mean 0 and variance 1 over all pixels, and classes."""
    from sklearn.datasets import load_digits  # here, for it takes a second to import

    bunch = load_digits()
    half = slice(len(bunch.images) // 2, None) if second_half else slice(len(bunch.images) // 2)
    images = torch.tensor(bunch.images[half], dtype=torch.float32)
    return (images - 4.9) / 6.0, torch.tensor(bunch.target[half], dtype=torch.int64)


@cache
def _characters(seed: int) -> Tensor:
    """Synthetic characters ``(class, drawing, 14, 14)``, of half of their resolution."""
    drawn = torch.from_numpy(stroke_classes(_POOL, _DRAWINGS, seed).astype(np.float32))
    return 2 * functional.avg_pool2d(drawn, 2)
