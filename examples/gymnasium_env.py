"""Any Gymnasium environment as a task family: a pendulum in a gravity that it cannot see.

``metarl check gymnasium_env:me/Pendulum-v0`` checks it, ``metarl train rl2 gymnasium_env:me/Pendulum-v0`` trains on it;
``metarl new-family Pendulum-v1`` writes such a family for an environment.
"""

from metarl import RL2, GymnasiumFamily, TaskSpace, Uniform, evaluate, make_family, register_family


@register_family("me/Pendulum-v0")
class Pendulum(GymnasiumFamily):
    """A pendulum to swing up, in a gravity that it cannot see."""

    env = "Pendulum-v1"
    tasks = TaskSpace(g=Uniform(5.0, 15.0))  # an attribute of the environment; else define set_task or make_env
    horizon = 50


if __name__ == "__main__":
    family = make_family("me/Pendulum-v0")
    print("sees", family.observation_space, "and acts in", family.action_space)
    agent = RL2(family, RL2.config_class(tasks=8, episodes=2, minibatches=2), seed=0)
    agent.learn(1_600)  # a few seconds: too short to learn anything
    scored = evaluate(agent, tasks=5, deterministic=False)
    print("return of each episode of a trial:", scored.returns[0].mean(1).round(1))
