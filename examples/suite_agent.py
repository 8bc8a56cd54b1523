"""An agent of your own in the suite (docs/suite.md): REINFORCE, with averages of the past as its memory."""

from dataclasses import dataclass

import torch

from metarl import Algorithm, evaluate
from metarl.core.actions import ActionLayout
from metarl.core.distributions import distribution_of
from metarl.core.learner import MetaLearner
from metarl.core.networks import MLP
from metarl.core.optimiser import Adam
from metarl.core.random import stream_keys
from metarl.rollout.rollout import rollout


@dataclass(frozen=True)
class Config:
    total_timesteps: int = 100_000
    tasks: int = 128


class Averages(MetaLearner):
    online, distribution = True, staticmethod(distribution_of)  # it takes in every step while it acts
    initial = lambda self, params, n_tasks: {"past": torch.zeros(n_tasks, self.width)}  # noqa: E731

    def __init__(self, family):
        self.layout = ActionLayout(family.action_space)
        self.action_noise, self.width = self.layout.noise, 2 * self.layout.size
        self.network = MLP((family.observation_space.shape[0] + self.width, 32, self.layout.size), output_gain=0.01)

    def observe(self, params, state, seen):
        done = self.layout.features(seen.action[:, 0])
        return {"past": 0.9 * state["past"] + torch.cat([done, done * seen.reward], -1)}

    def policy(self, params, state, observation):
        out = self.network(params, torch.cat([observation, state["past"][:, None]], -1))
        return self.layout.outputs(out, torch.full((self.layout.axes,), -0.7) if self.layout.axes else None)


class Reinforce(Algorithm):
    name, config_class, presets = "reinforce", Config, {"default": Config()}
    build_learner, init_params = lambda self: Averages(self.family), lambda self, rng: self.learner.network.init(rng)

    def train_iteration(self):
        n, adam = self.config.tasks, vars(self).setdefault("adam", Adam(self.params, 1e-2))
        tasks = self.family.splits.train(stream_keys(n, self.seed, "task", self.iteration))
        batch = self.family.batch(tasks, stream_keys(n, self.seed, "train", self.iteration))
        start, episodes = self.learner.initial(self.params, n), self.family.episodes_per_trial
        played = rollout(self.learner, self.params, start, batch, n_envs=1, episodes=episodes)[0].filled()
        gain = played.reward.flip(-1).cumsum(-1).flip(-1)  # what follows in the episode
        log_prob = distribution_of(self.learner.replay(adam.params, start, played)[0]).log_prob(played.action)
        adam.minimise((log_prob * (gain.mean(0) - gain) / (gain.std() + 1e-6))[played.valid].mean())
        self.params = adam.values()
        return played.environment_steps, {"rollout/return": float(played.returns.mean())}


if __name__ == "__main__":
    made = Reinforce("metarl/BernoulliBandit-v0", Config(total_timesteps=300_000)).learn()
    print("rewards of pulls 1, 34, 67 and 100:", evaluate(made, episodes=99).returns.mean((0, 2))[::33])
