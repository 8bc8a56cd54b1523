"""The architectures that learned optimisers are trained and tested on: small, and of ordinary torch modules."""

from itertools import pairwise

import torch
from torch import Tensor, nn


def perceptron(shape: tuple[int, ...], width: int, depth: int, outputs: int) -> nn.Module:
    """Return a perceptron of ``depth`` hidden layers, for samples of any shape."""
    sizes = [int(torch.Size(shape).numel()), *[width] * depth]
    layers = [module for pair in pairwise(sizes) for module in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, outputs))


def convolutional(shape: tuple[int, ...], width: int, depth: int, outputs: int) -> nn.Module:
    """Return ``depth`` convolutions of stride 2 and a linear layer, for images ``(height, width)``."""
    layers: list[nn.Module] = [nn.Unflatten(1, (1, shape[0]))]
    channels, (height, breadth) = 1, shape
    for _ in range(depth):
        layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.ReLU()]
        channels, height, breadth = width, -(-height // 2), -(-breadth // 2)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * breadth, outputs))


class Recurrent(nn.Module):
    """A gated recurrent unit that reads an image row by row (Cho et al. 2014)."""

    def __init__(self, shape: tuple[int, ...], width: int, depth: int, outputs: int) -> None:
        super().__init__()
        self.from_row, self.from_hidden = nn.Linear(shape[1], 3 * width), nn.Linear(width, 3 * width)
        self.head = nn.Linear(width, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Return outputs ``(n, outputs)`` of images ``(n, height, width)``."""
        rows = self.from_row(images).unbind(1)
        hidden = torch.zeros_like(rows[0][:, : self.head.in_features])
        for row in rows:
            reset, keep, new = row.chunk(3, -1)
            reset_h, keep_h, new_h = self.from_hidden(hidden).chunk(3, -1)
            seen = torch.tanh(new + torch.sigmoid(reset + reset_h) * new_h)
            hidden = torch.lerp(seen, hidden, torch.sigmoid(keep + keep_h))
        outputs: Tensor = self.head(hidden)
        return outputs


class Attentive(nn.Module):
    """One block of self-attention, of one head, over the rows of an image (Vaswani et al. 2017), normalised first."""

    def __init__(self, shape: tuple[int, ...], width: int, depth: int, outputs: int) -> None:
        super().__init__()
        self.embed, self.place = nn.Linear(shape[1], width), nn.Parameter(0.02 * torch.randn(shape[0], width))
        self.mixed, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Return outputs ``(n, outputs)`` of images ``(n, height, width)``."""
        x = self.embed(images) + self.place
        query, key, value = self.mixed(self.first(x)).chunk(3, -1)
        x = x + self.project(torch.softmax(query @ key.mT * key.shape[-1] ** -0.5, -1) @ value)
        outputs: Tensor = self.head((x + self.feed(self.second(x))).mean(1))
        return outputs


class Mixer(nn.Module):
    """A block that mixes the rows of an image, then its channels (Tolstikhin et al. 2021, "MLP-Mixer")."""

    def __init__(self, shape: tuple[int, ...], width: int, depth: int, outputs: int) -> None:
        super().__init__()
        self.embed, self.first, self.second = nn.Linear(shape[1], width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.rows = nn.Sequential(nn.Linear(shape[0], width), nn.GELU(), nn.Linear(width, shape[0]))
        self.channels = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Return outputs ``(n, outputs)`` of images ``(n, height, width)``."""
        x = self.embed(images)
        x = x + self.rows(self.first(x).mT).mT
        outputs: Tensor = self.head((x + self.channels(self.second(x))).mean(1))
        return outputs


ARCHITECTURES = {
    "mlp": perceptron,
    "cnn": convolutional,
    "gru": Recurrent,
    "attention": Attentive,
    "mixer": Mixer,
}
