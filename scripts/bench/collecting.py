"""An agent's rollout, against the same actions in the same environments without anything else."""

from bench.measure import Options, Row, in_turn
from metarl.algorithm.algorithm import Algorithm
from metarl.core.process import torch_beside
from metarl.core.trajectory import Trajectory
from metarl.rollout.batch import Batch
from metarl.rollout.rollout import rollout


def collecting(options: Options, agent: Algorithm, batch: Batch, recorded: Trajectory, asked: float) -> Row:
    """An episode of each environment of the batch; ``recorded`` has the actions."""
    n, actions = len(recorded.action), recorded.action[:, 0, 0].clamp(-1, 1).unbind(1)

    def acting() -> None:
        state = agent.learner.initial(agent.params, n)
        rollout(agent.learner, agent.params, state, batch, n_envs=1)

    def physics() -> None:
        with torch_beside(getattr(batch, "threads", 1)):
            batch.reset(0)
            for action in actions:
                batch.step(action)

    ours, alone = in_turn(options.repeats, acting, physics)
    name = f"{agent.name} collecting, {agent.family.name}, {n} environments"
    return Row(name, ours, alone, "physics alone", asked, f"{n * len(actions) / ours:,.0f} steps/s")
