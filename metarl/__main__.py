"""``python -m metarl``, as ``torchrun -m metarl`` starts it."""

from metarl.cli.main import main

if __name__ == "__main__":
    main()
