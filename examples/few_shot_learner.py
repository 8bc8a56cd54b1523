"""A few-shot learner of one's own, on the command line ``few_shot_learner:NearestNeighbour`` from this folder."""

from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from metarl.fewshot import EpisodeSpec, FewShot, FewShotConfig, FewShotLearner, make_dataset, register_fewshot


@dataclass(frozen=True, kw_only=True)
class NearestConfig(FewShotConfig):
    """The settings of a nearest-neighbour learner."""

    sharpness: float = 10.0  # what distances are multiplied with to become logits


@register_fewshot("nearest")
class NearestNeighbour(FewShotLearner):
    """Nearest neighbours in a learned space. State: the encoded support and its labels, one row a task."""

    config_class = NearestConfig
    any_way = True  # the parameters serve any number of classes

    def initial(self, params, n_tasks):
        """Return the state before any data."""
        nothing = torch.zeros(n_tasks, 0, self.backbone.n_features)
        return {"encoded": nothing, "labels": torch.zeros(n_tasks, 0, dtype=torch.int64)}

    def adapt(self, params, state, support):
        """Take in the support, ``(task, sample, *shape)``, with labels ``(task, sample)``."""
        encoded = functional.normalize(self.backbone(params, support.inputs, "backbone."), dim=-1)
        return {
            "encoded": torch.cat([state["encoded"], encoded], 1),
            "labels": torch.cat([state["labels"], support.targets], 1),
        }

    def query(self, params, state, inputs):
        """Return logits ``(task, query, class)``: minus the distance of the nearest sample of each class."""
        encoded = functional.normalize(self.backbone(params, inputs, "backbone."), dim=-1)
        distance = torch.cdist(encoded, state["encoded"])[..., None]
        other = state["labels"][:, None, :, None] != torch.arange(self.way)
        nearest = distance.masked_fill(other, torch.inf).amin(2).clamp(max=2)
        return {"logits": -self.config.sharpness * nearest}


if __name__ == "__main__":
    dataset = make_dataset("strokes")
    config = replace(NearestConfig(), width=16, strided=True, episode=EpisodeSpec(way=10, shot=1, queries=3))
    model = FewShot("nearest", dataset, config)
    for iterations in (0, 40):
        model.fit(dataset, iterations=iterations)
        accuracy = model.evaluate(dataset.split("test"), EpisodeSpec(way=5, shot=1, queries=5), episodes=60)
        print(f"after {model.iteration} iterations: {accuracy.mean():.1%} of 5 ways, 1 shot")
