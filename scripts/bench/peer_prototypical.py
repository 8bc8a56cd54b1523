"""Prototypical networks' training against easyfsl's: the same episodes and network, and each with its own loader.

``pip install easyfsl``; without it these rows are left out.
"""

import importlib
import sys
import tempfile
from pathlib import Path
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from bench.measure import Options, Row, in_turn
from metarl.core.optimiser import Adam
from metarl.core.types import Params
from metarl.fewshot.backbone import BACKBONE, Conv4
from metarl.fewshot.data.episodes import Classes, Episodes, EpisodeSpec
from metarl.fewshot.learners.metric import Prototypical

_EPISODE = EpisodeSpec(60, 1, 5)  # of Snell et al. 2017, section 3.1
_EPISODES, _SIDE = 4, 28  # episodes that are timed at once; pixels


def bench_peer(options: Options, classes: Classes) -> list[Row]:
    """Measure an iteration of training with its optimiser; the list is empty where easyfsl is not installed."""
    try:
        # It imports torchvision for pictures on disk alone, which a CPU's build of torch often lacks.
        if importlib.util.find_spec("torchvision") is None:
            sys.modules.update({name: MagicMock() for name in _TORCHVISION})
        peer = importlib.import_module("easyfsl.methods").PrototypicalNetworks
        sampler = importlib.import_module("easyfsl.samplers").TaskSampler
    except (ImportError, RuntimeError) as error:
        print(f"easyfsl is left out ({error}): pip install easyfsl", file=sys.stderr)
        return []
    random = torch.Generator().manual_seed(0)
    learner = Prototypical(Conv4((_SIDE, _SIDE), strided=False), _EPISODE.way)
    params = learner.init(random)
    adam = Adam(params, 1e-3)
    network = peer(backbone=_Network(params))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    given = [classes.draw(_EPISODE, 1, random) for _ in range(_EPISODES)]
    folder = tempfile.TemporaryDirectory()
    dataset = _Pictures(classes, Path(folder.name))
    # It hands an argument on that torch's Sampler no longer takes.
    with patch.object(torch.utils.data.Sampler, "__init__", lambda _, data_source=None: None):
        own = sampler(dataset, _EPISODE.way, _EPISODE.shot, _EPISODE.queries, _EPISODES)
    loader = torch.utils.data.DataLoader(dataset, batch_sampler=own, collate_fn=own.episodic_collate_fn)

    def ours(episodes: Episodes) -> None:
        gradient, _ = learner.gradient(adam.values(), episodes)
        adam.step(gradient)

    def theirs(seen: Tensor, labels: Tensor, inputs: Tensor, answers: Tensor) -> None:
        network.process_support_set(seen, labels)
        loss = functional.cross_entropy(network(inputs), answers)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def ours_in_memory() -> None:
        for episodes in given:
            ours(episodes)

    def theirs_in_memory() -> None:
        for (seen, labels), (inputs, answers), *_ in given:
            theirs(seen[0].unsqueeze(1), labels[0], inputs[0].unsqueeze(1), answers[0])

    def ours_drawn() -> None:
        for _ in range(_EPISODES):
            ours(classes.draw(_EPISODE, 1, random))

    def theirs_loaded() -> None:
        for *tensors, _ in loader:
            theirs(*tensors)

    rows = []
    for name, one, other, target in (
        ("tensors in memory", ours_in_memory, theirs_in_memory, 1.0),
        ("each one's own loader", ours_drawn, theirs_loaded, 1.5),
    ):
        mine, peers = in_turn(options.repeats, one, other)
        rows.append(Row(f"Prototypical, {_EPISODES} episodes of 60 ways, {name}", mine, peers, "easyfsl", target))
    folder.cleanup()
    return rows


_TORCHVISION = ("torchvision", "torchvision.datasets", "torchvision.models", "torchvision.models.resnet")


class _Network(nn.Module):
    """A module with the same layers and parameters as our network."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.weights = nn.ParameterDict(
            {name.removeprefix(BACKBONE).replace(".", "_"): value.clone() for name, value in params.items()}
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in range(4):
            x = functional.conv2d(x, self.weights[f"{block}_weight"], padding=1)
            x = functional.layer_norm(x, x.shape[1:])
            scale, shift = (self.weights[f"{block}_{part}"][:, None, None] for part in ("scale", "shift"))
            x = functional.max_pool2d(torch.relu(torch.addcmul(shift, x, scale)), 2)
        return x.flatten(1)


class _Pictures(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Pictures in files that are opened, resized and made tensors one at a time, as easyfsl's data sets have them.

    As large as Omniglot's, 105 × 105 of 1 bit.
    """

    def __init__(self, classes: Classes, folder: Path) -> None:
        self.folder, self.labels = folder, torch.arange(len(classes)).repeat_interleave(classes.counts).tolist()
        for i, picture in enumerate(classes.samples.numpy()):
            Image.fromarray(picture == 0).resize((105, 105)).save(folder / f"{i}.png")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        with Image.open(self.folder / f"{i}.png") as image:
            pixels = np.asarray(image.convert("L").resize((_SIDE, _SIDE)))
        return torch.from_numpy(pixels[None] / np.float32(255)), self.labels[i]

    def get_labels(self) -> list[int]:
        """Return the labels of all pictures."""
        return list(self.labels)
