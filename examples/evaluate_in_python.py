"""Training and evaluating in Python: an adaptation curve on held-out tasks, as numbers, a table and a picture."""

from pathlib import Path
from tempfile import mkdtemp

from metarl import RL2, evaluate

agent = RL2("metarl/GridNavi-v0", seed=0).learn(20_000)
evaluation = evaluate(agent, split="test", tasks=20, episodes=3)  # four episodes: the last one has seen three
for point in evaluation.points:
    normalised = "" if point.normalised is None else f", normalised {point.normalised.value:.2f}"
    print(f"after {point.episodes} episodes: return {point.returns.value:.1f}{normalised}")

folder = Path(mkdtemp())
agent.save(folder / "agent.safetensors")
evaluation.save(folder / "evaluation.json")
loaded = RL2.load(folder / "agent.safetensors")
assert (evaluate(loaded, split="test", tasks=20, episodes=3).returns == evaluation.returns).all()
print("Saved", *sorted(path.name for path in folder.iterdir()), "in", folder)
