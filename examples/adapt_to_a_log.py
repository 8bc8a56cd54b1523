"""Adapting to recorded episodes, a robot's log say, and acting in the environment that they are from."""

import gymnasium
import numpy as np

from metarl import MAML, Episode

agent = MAML("metarl/PointNavigation-v0").learn(10_000)  # or MAML.load("agent.safetensors")
env = gymnasium.make("metarl/PointNavigation-v0", task={"goal": (0.3, -0.2)})


def record(policy, seed):
    """Play an episode; return it as a log has it: what was seen, done and earned."""
    observation, _ = env.reset(seed=seed)
    observations, actions, rewards, over = [observation], [], [], False
    while not over:
        action, _ = policy.predict(observation)
        observation, reward, terminated, truncated, _ = env.step(action)
        observations.append(observation)
        actions.append(action)
        rewards.append(reward)
        over = terminated or truncated
    return Episode(observations=observations, actions=actions, rewards=rewards)


log = [record(agent, seed) for seed in range(20)]
adapted = agent.adapt(log)
for name, policy in (("before", agent), ("after", adapted)):
    returns = [np.sum(record(policy, seed).rewards) for seed in range(100, 105)]
    print(f"return {name} adapting to {len(log)} recorded episodes: {np.mean(returns):.1f}")
