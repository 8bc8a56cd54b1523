"""An extension of griffe: the comment beside a field of a configuration is its documentation."""

import ast
from typing import Any

from griffe import Attribute, Docstring, Extension, ObjectNode


class FieldComments(Extension):
    """Make docstrings of the comments beside or above the fields of classes, where these have none."""

    def on_attribute_instance(self, *, node: ast.AST | ObjectNode, attr: Attribute, **_kwargs: Any) -> None:
        """Give an attribute of a class the comment at the end of its line, or that of the line above."""
        is_field = isinstance(node, ast.AnnAssign) and attr.parent is not None and attr.parent.is_class
        if not is_field or attr.docstring or attr.name.startswith("_") or attr.lineno is None:
            return
        lines = attr.lines_collection[attr.filepath]
        last, above = lines[(attr.endlineno or attr.lineno) - 1], lines[attr.lineno - 2].strip()
        comment = last.partition("  # ")[2] or (above[2:] if above.startswith("# ") else "")
        if comment:
            attr.docstring = Docstring(comment[:1].upper() + comment[1:] + ".", lineno=attr.lineno, parent=attr)
