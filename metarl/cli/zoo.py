"""The commands ``metarl zoo | enjoy``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from metarl.cli.agents import Render
from metarl.cli.base import ScoreCommand, show
from metarl.cli.options import Option
from metarl.cli.suite import show_verdicts
from metarl.core.errors import MetaRLError


@dataclass(frozen=True, kw_only=True)
class Zoo(ScoreCommand):
    """List trained agents and learners that come with metarl, or score them again."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[NAME ...]")] = ()
    """such as rl2/GridNavi; all unless given"""
    verify: Option[bool] = False
    """score their weights again, and compare with what was published; exit code 1 where one is outside its interval"""

    def run(self, command: str) -> None:
        from metarl.core.process import prepare_process
        from metarl.evaluation.rows import terminal_table
        from metarl.zoo import zoo_entries

        entries = zoo_entries(self.names)
        prepare_process(self.more.threads)
        if not self.verify:
            rows = [(each.name, ", ".join(map(str, each.seeds)), each.score) for each in entries]
            content = [dict(zip(("name", "seeds", "score"), row, strict=True)) for row in rows]
            show(self.more.json, content, terminal_table(("name", "seeds", "published score"), rows))
            return
        show_verdicts([each.scored_again(quiet=self.quiet) for each in entries], as_json=self.more.json)


@dataclass(frozen=True, kw_only=True)
class Enjoy(ScoreCommand):
    """A film of a trained agent of the zoo, on tasks that it has not seen."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """such as rl2/GridNavi; metarl zoo lists them"""
    envs: Option[int] = 4
    """tasks side by side"""
    points: Option[int] = 2
    """2 is before any adaptation and after one"""
    steps: Option[int | None] = None
    """of each episode; all unless given"""
    output: Option[Path | None] = None
    """.gif, or .mp4 with the extra video; AGENT-FAMILY.gif unless given"""

    def run(self, command: str) -> None:
        from metarl.zoo import zoo_entries

        entry = zoo_entries([self.name])[0]
        if entry.is_learner:
            raise MetaRLError(f"{self.name} is a few-shot learner, which plays no episodes; metarl enjoy takes agents.")
        output = self.output or Path(f"{self.name.replace('/', '-')}.gif")
        how = {"envs": self.envs, "points": self.points, "steps": self.steps, "quiet": self.quiet}
        Render(what=str(entry.path), output=output, **how).run(command)  # type: ignore[arg-type]
