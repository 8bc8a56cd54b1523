"""The command ``metarl export``."""

from dataclasses import dataclass
from pathlib import Path

from metarl.cli.agents import OwnCode
from metarl.cli.base import show
from metarl.cli.options import Option, RunPath


@dataclass(frozen=True, kw_only=True)
class Export(OwnCode):
    """Write an adapted policy for other runtimes."""

    path: RunPath
    """a run folder, or that of a published result with weights"""
    episodes: Option[int | None] = None
    """episodes of the task to adapt to before; unless given, as many as the agent adapts to at a time, and none where
    it learns while it acts"""
    task: Option[int] = 0
    """which of the split's tasks"""
    split: Option[str] = "test"
    """val, test or ood"""
    seed: Option[int | None] = None
    """of the run; its first unless given"""
    output: Option[Path] = Path("policy.onnx")
    """.onnx with the extra onnx, or torch's .pt2"""

    def run(self, command: str) -> None:
        self.check(self.path)
        from metarl.algorithm.export import check_export
        from metarl.core.process import prepare_process
        from metarl.evaluation.agent import adapted_to
        from metarl.experiments.run import chosen_seed

        check_export(self.output)
        prepare_process(self.more.threads)
        run = self.open(self.path)
        agent = run.trained(chosen_seed(run, self.seed), self.more.device)
        policy = adapted_to(agent, self.split, self.task, self.episodes)
        policy.export(self.output)
        done = {"policy": str(self.output), "episodes": policy.episodes}
        show(self.more.json, done, f"Saved {self.output}, adapted to {policy.episodes} episodes")
