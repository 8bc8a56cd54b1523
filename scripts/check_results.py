"""Check every result in results/ against the schema; write results/README.md and the tables in README.md and docs/."""

import sys
from pathlib import Path

import tyro

from metarl.core.errors import MetaRLError
from metarl.evaluation.sums import record_sums
from results.files import load_results
from results.pages import insert_tables, tables
from results.report import write_results_readme

ROOT = Path(__file__).resolve().parents[1]


def main(results: Path = ROOT / "results", root: Path = ROOT, check: bool = False, accept: bool = False) -> int:
    """Check the results and write the tables made from them.

    Args:
        results: the folder of results.
        root: the folder of README.md and docs/, whose pages have markers such as <!-- results:begin --> and
            <!-- results:end -->; results/pages.py says which.
        check: write nothing, and exit with 1 if something would change.
        accept: take the results as they are: record the checksums of their files anew. Publishing does so by itself.
    """
    try:
        if accept and not check:
            record_sums(results)
        checked = load_results(results)
        made = tables(results, checked)
        changed = {results / "README.md": write_results_readme(results, write=not check)}
        changed |= insert_tables(root, made, write=not check)
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
