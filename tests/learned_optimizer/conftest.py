"""What the tests of learned optimisers share."""

from pathlib import Path

import pytest
import torch
from torch import nn

from metarl.core.checkpoint import save_checkpoint
from metarl.core.random import torch_generator
from metarl.learned_optimizer.rules import RULES


@pytest.fixture(params=sorted(RULES))
def weights(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A file of a rule before training, with every parameter moved a little so that all of them matter."""
    generator = torch_generator(0, "test")
    theta = RULES[request.param]().init(generator)
    theta = {name: value + 0.1 * torch.randn(value.shape, generator=generator) for name, value in theta.items()}
    path = tmp_path / f"{request.param}.safetensors"
    save_checkpoint(path, theta, {"rule": request.param})
    return str(path)


@pytest.fixture
def model() -> nn.Module:
    """A module with parameters of one to four axes."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 6, 6)),
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 5),
        nn.LayerNorm(5),
        nn.Linear(5, 3),
    )
