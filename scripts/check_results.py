"""Check every result in results/ against the schema; write results/README.md and the tables in README.md and docs/."""

import sys
from pathlib import Path

import tyro

from metarl.core.errors import MetaRLError
from metarl.envs import FAMILIES
from metarl.evaluation.sums import record_sums
from metarl.family.listing import families, families_markdown
from metarl.suite.entries import leaderboard
from metarl.suite.protocol import protocol_table
from results.comparisons import comparisons_table
from results.files import load_results
from results.markdown import insert_table
from results.report import figures_table, learners_table, results_table, write_results_readme

ROOT = Path(__file__).resolve().parents[1]


def main(
    results: Path = ROOT / "results", readme: Path = ROOT / "README.md", check: bool = False, accept: bool = False
) -> int:
    """Check the results and write the tables made from them.

    Args:
        results: the folder of results.
        readme: the file with the markers <!-- results:begin --> and <!-- results:end -->, and so for figures, fewshot,
            comparisons and families.
        check: write nothing, and exit with 1 if something would change.
        accept: take the results as they are: record the checksums of their files anew. Publishing does so by itself.
    """
    try:
        if accept and not check:
            record_sums(results)
        checked = load_results(results)
        tables = {
            "results": results_table(checked),
            "figures": figures_table(checked),
            "fewshot": learners_table(checked),
            "comparisons": comparisons_table(results),
            # The families of this package alone, whatever else is installed.
            "families": families_markdown(families(FAMILIES)),
        }
        changed = {results / "README.md": write_results_readme(results, write=not check), readme: False}
        for name, table in tables.items():
            changed[readme] |= insert_table(readme, name, table, write=not check)
        made = {"suite": ("protocol", protocol_table()), "leaderboard": ("leaderboard", leaderboard(results))}
        for page, (name, table) in made.items():
            if (path := readme.parent / "docs" / f"{page}.md").exists():
                changed[path] = insert_table(path, name, table, write=not check)
    except MetaRLError as error:
        print(error, file=sys.stderr)
        return 1
    stale = [str(path) for path, differs in changed.items() if differs]
    print(f"sound results: {len(checked)}")
    if stale:
        print(f"{', '.join(stale)}: {'out of date; run `make results`' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
