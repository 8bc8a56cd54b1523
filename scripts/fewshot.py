"""Few-shot learners: ``python scripts/fewshot.py train maml --data omniglot``. Same as ``metarl fewshot``."""

import sys

from metarl.cli.main import main

if __name__ == "__main__":
    main(["fewshot", *sys.argv[1:]])
