"""The generated parts of README.md and docs/: which table stands between which markers of which page."""

from collections.abc import Sequence
from pathlib import Path

from metarl.algorithm.registry import agent_class
from metarl.envs import FAMILIES
from metarl.family.listing import families, families_markdown
from metarl.suite.entries import leaderboard
from metarl.suite.protocol import protocol_table
from results.comparisons import comparisons_table
from results.files import Result
from results.markdown import insert_table, markdown
from results.report import figures_table, headlines_table, learners_table, results_table

AGENTS = {  # page -> the agents that it describes
    "docs/agents/maml.md": ("maml",),
    "docs/agents/rl2.md": ("rl2",),
    "docs/agents/varibad.md": ("varibad",),
    "docs/agents/pearl.md": ("pearl",),
    "docs/agents/baselines.md": ("finetune", "multitask", "oracle"),
}
HEADLINES = (  # what README.md shows: the result, and its figure
    ("maml/PointNavigation-maml", "normalised step 3"),
    ("rl2/GridNavi-varibad", "return trial"),
    ("rl2-bandit/BernoulliBandit-k5", "n=100 k=5"),
    ("rl2-tabular/TabularMDP-rl2", "n=10"),
    ("varibad/GridNavi-varibad", "return trial"),
    ("pearl-cheetah/HalfCheetahVel-pearl", "return episode 3"),
    ("pearl-semicircle/SparseSemicircle-pearl", "return episodes 16-20"),
    ("fewshot/prototypical/omniglot", "5w5s"),
    ("fewshot/maml-sinusoid/sinusoid", "mse 10-shot step 1"),
)


def tables(results_dir: Path, results: Sequence[Result]) -> dict[str, dict[str, str]]:
    """Return all tables, by page and marker."""
    made = {
        "README.md": {"headlines": headlines_table(headlines(results))},
        "docs/few_shot.md": {"fewshot": learners_table(results), "comparisons": comparisons_table(results_dir)},
        # The families of this package alone, whatever else is installed.
        "docs/families.md": {"families": families_markdown(families(FAMILIES))},
        "docs/suite.md": {"protocol": protocol_table()},
        "docs/leaderboard.md": {"leaderboard": leaderboard(results_dir)},
    }
    for page, names in AGENTS.items():
        own = [each for each in results if _is_of(each, names)]
        scores = {"results": results_table(own), "figures": figures_table(own)}
        made[page] = {"presets": presets_table(names), **scores}
    return made


def insert_tables(root: Path, made: dict[str, dict[str, str]], *, write: bool = True) -> dict[Path, bool]:
    """Put the tables between their markers; returns for each page whether it changed, or would."""
    changed = {}
    for page, of_page in made.items():
        inserted = [insert_table(root / page, marker, table, write=write) for marker, table in of_page.items()]
        changed[root / page] = any(inserted)
    return changed


def headlines(results: Sequence[Result]) -> list[Result]:
    """Return the results of ``HEADLINES`` that there are, each with its one figure."""
    found = {each.name: each for each in results}
    shown = []
    for name, figure in HEADLINES:
        if name in found:
            content = found[name].summary
            figures = [each for each in content["figures"] if each["name"] == figure]
            shown.append(found[name]._replace(summary={**content, "figures": figures}))
    return shown


def presets_table(names: Sequence[str]) -> str:
    """Return the table of agents' presets: what each is for, its steps, and the minutes of a seed on one core."""
    rows = []
    for name in names:
        cls = agent_class(name)
        for preset, config in cls.presets.items():
            purpose, minutes = cls.uses.get(preset, ("", None))
            time = "–" if minutes is None else f"{minutes:g}"
            rows.append([f"`{name}`", f"`{preset}`", purpose, f"{config.total_timesteps / 1e6:g}", time])
    header = ["agent", "preset", "for", "million steps", "minutes a seed, one core"]
    return markdown(header, rows)


def _is_of(result: Result, names: Sequence[str]) -> bool:
    """Return whether a result is an agent's: its folder is the agent's name, and perhaps more, as in rl2-bandit."""
    return result.name.startswith(tuple(f"{name}{end}" for name in names for end in ("-", "/")))
