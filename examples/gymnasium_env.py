"""Any Gymnasium environment as a task family: a pendulum in a hidden gravity, whose motor may turn the wrong way.

``metarl check gymnasium_env:me/Pendulum-v0`` checks it, ``metarl train rl2 gymnasium_env:me/Pendulum-v0`` trains on it;
``metarl new-family Pendulum-v1`` writes such a family for an environment.
"""

import gymnasium
from gymnasium.wrappers import TransformAction

from metarl import RL2, Choice, GymnasiumFamily, TaskSpace, Uniform, evaluate, make_family, register_family


@register_family("me/Pendulum-v0")
class Pendulum(GymnasiumFamily):
    """A pendulum to swing up in a hidden gravity, by a motor that may turn the wrong way."""

    tasks = TaskSpace(g=Uniform(8.0, 12.0), sign=Choice((-1.0, 1.0)))

    def make_env(self, task):
        env = gymnasium.make("Pendulum-v1", g=task["g"])
        return TransformAction(env, lambda torque: task["sign"] * torque, env.action_space)


if __name__ == "__main__":
    family = make_family("me/Pendulum-v0")
    print("sees", family.observation_space, "and acts in", family.action_space)
    agent = RL2(family, RL2.config_class(tasks=4, episodes=2, minibatches=2), seed=0)
    agent.learn(1_600)  # a few seconds: too short to learn anything
    scored = evaluate(agent, tasks=5, deterministic=False)
    print("return of each episode of a trial:", scored.returns[0].mean(1).round(1))
