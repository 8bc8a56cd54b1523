"""The version of the package; it has a file of its own so that nothing imports ``metarl`` for it."""

__version__ = "0.2.0"
