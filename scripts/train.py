"""Train an agent: ``python scripts/train.py maml metarl/PointNavigation-v0 --seed 0 1 2``. Same as ``metarl train``."""

import sys

from metarl.cli.main import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
