"""Task families: their declaration, the registry, the Gymnasium views, and the check."""

from metarl.family.base import TaskFamily
from metarl.family.registry import family_class, family_ids, make_family, register_family

__all__ = ["TaskFamily", "family_class", "family_ids", "make_family", "register_family"]
