"""Observations as rows of features: flattened numbers, or what a torch module makes of them."""

from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from metarl.core.errors import MetaRLError
from metarl.core.modules import ModuleNetwork
from metarl.core.plugins import import_named
from metarl.core.types import Params

_BRIGHTEST = 255
_NATURE, _SMALLEST = 36, 4  # pixels that the two convolutional networks need at least, in height and in width


def is_image(space: gymnasium.Space[Any]) -> bool:
    """Tell whether observations are images: a Box of three dimensions with numbers from 0 to 255."""
    if not isinstance(space, Box) or len(space.shape) != 3:
        return False
    return bool((space.low == 0).all() and (space.high == _BRIGHTEST).all())


class ObservationEncoder:
    """Turn observations into rows of ``n_features`` numbers.

    Observations are flattened, those of images divided by 255. With a module they get their shape back, and rows are
    its features.

    Args:
        space: of the observations, a Box.
        name: ``module:Name`` of what makes a torch module for an observation's shape; without one images are encoded by
            ``Convolutional``, and other observations by nothing.
        prefix: what precedes the names of the module's parameters.

    Raises:
        MetaRLError: the module cannot take observations of this shape, or is no pure function.
    """

    def __init__(self, space: gymnasium.Space[Any], name: str = "", prefix: str = "encoder.") -> None:
        self.shape, self._prefix, self.is_image = space.shape or (), prefix, is_image(space)
        make = import_named(name) if name else Convolutional if self.is_image else None
        self.module = None if make is None else ModuleNetwork(partial(make, self.shape), self.shape)
        self.n_numbers = int(np.prod(self.shape))
        self.n_features = self.n_numbers if self.module is None else self.module.n_features

    def init(self, generator: torch.Generator) -> Params:
        """Return the module's parameters before training, if there is one."""
        made = {} if self.module is None else self.module.init(generator)
        return {self._prefix + name: value for name, value in made.items()}

    def flat(self, observation: Tensor) -> Tensor:
        """Return observations ``(..., *shape)`` as rows ``(..., n_numbers)``, images as numbers in [0, 1]."""
        rows = observation.flatten(-len(self.shape)) if self.shape else observation[..., None]
        return rows / _BRIGHTEST if self.is_image else rows

    def __call__(self, params: Params, rows: Tensor) -> Tensor:
        """Return features ``(task, ..., n_features)`` of rows; the parameters may have a task axis first."""
        if self.module is None:
            return rows
        samples = rows.reshape(len(rows), -1, *self.shape)
        return self.module(params, samples, self._prefix).reshape(*rows.shape[:-1], self.n_features)


class Convolutional(nn.Module):
    """The convolutional network of the field for images with values in [0, 1].

    From 36 × 36 pixels on that of Mnih et al. 2015 ("Human-level control through deep reinforcement learning",
    methods), with 512 features; below that the one that MiniGrid's documentation gives, with 128.

    Args:
        shape: of an image, channels first or last: the smaller of the two is taken for them.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self._channels_first = len(shape) == 3 and shape[0] < shape[2]
        sides = shape[1:] if self._channels_first else shape[:2]
        if len(shape) != 3 or min(sides) < _SMALLEST:
            raise MetaRLError(
                f"Observations of shape {shape}: the convolutional encoder takes images of at least {_SMALLEST} × "
                f"{_SMALLEST} pixels, channels first or last; name another as module:Name, or flatten them with "
                "gymnasium.wrappers.FlattenObservation."
            )
        channels = shape[0] if self._channels_first else shape[2]
        layers, width = ([(32, 8, 4), (64, 4, 2), (64, 3, 1)], 512)
        if min(sides) < _NATURE:
            layers, width = ([(16, 2, 1), (32, 2, 1), (64, 2, 1)], 128)
        network: list[nn.Module] = []
        for filters, size, stride in layers:
            network += [nn.Conv2d(channels, filters, size, stride), nn.ReLU()]
            channels, sides = filters, tuple((side - size) // stride + 1 for side in sides)
        network += [nn.Flatten(), nn.Linear(channels * sides[0] * sides[1], width), nn.ReLU()]
        self.network = nn.Sequential(*network)

    def forward(self, images: Tensor) -> Tensor:
        """Return features ``(n, width)`` of images ``(n, *shape)``."""
        features: Tensor = self.network(images if self._channels_first else images.movedim(-1, 1))
        return features
