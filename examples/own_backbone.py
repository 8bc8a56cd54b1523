"""Any torch module as the backbone of a few-shot learner, on a data set made from arrays."""

from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from metarl.fewshot import EpisodeSpec, FewShot, FewShotDataset


class Residual(nn.Module):
    """A residual layer of 64 units on samples ``(n, 20)``."""

    def __init__(self) -> None:
        super().__init__()
        self.rise, self.layer = nn.Linear(20, 64), nn.Linear(64, 64)
        self.norm = nn.LayerNorm(64)  # not BatchNorm, which would tell one query from another

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features ``(n, 64)``."""
        x = self.rise(x)
        return x + torch.relu(self.layer(self.norm(x)))


def made(classes: int = 200, samples: int = 20) -> FewShotDataset:
    """Return classes that differ in 5 directions of a space of 20; in the others every sample differs."""
    random = np.random.default_rng(0)
    class_means, noise = random.normal(size=(classes, 1, 5)), 0.3 * random.normal(size=(classes, samples, 5))
    others = 3 * random.normal(size=(classes, samples, 15))
    mixing = np.linalg.qr(random.normal(size=(20, 20)))[0]
    X = np.concatenate([class_means + noise, others], -1) @ mixing
    return FewShotDataset.from_arrays(X.reshape(-1, 20), np.repeat(np.arange(classes), samples), name="mixed")


if __name__ == "__main__":
    dataset, episodes = made(), EpisodeSpec(way=5, shot=1, queries=10)
    # A class, so that every seed has a start of its own; a module, pre-trained for instance, would be taken as it is.
    model = FewShot("prototypical", dataset, backbone=Residual, seed=0)
    for iterations in (0, 300):
        model.fit(dataset, iterations=iterations)
        accuracy = model.evaluate(dataset.split("test"), episodes, 200).mean()
        print(f"after {model.iteration} iterations: {accuracy:.1%} of 5 ways, 1 shot")
    with TemporaryDirectory() as folder:
        model.save(f"{folder}/model.safetensors")  # the parameters; the code has to be given again
        again = FewShot.load(f"{folder}/model.safetensors", backbone=Residual)
    print("loaded, after", again.iteration, "iterations")
