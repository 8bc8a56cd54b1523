"""Score a run on held-out tasks: ``python scripts/evaluate.py runs/NAME --split test``. Same as ``metarl evaluate``."""

import sys

from metarl.cli.main import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
