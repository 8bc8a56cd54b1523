"""Markdown tables, and files that are written only where they change."""

from collections.abc import Sequence
from pathlib import Path

from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic


def insert_table(readme_path: str | Path, marker: str, table: str, *, write: bool = True) -> bool:
    """Put a table between ``<!-- marker:begin -->`` and ``<!-- marker:end -->`` of a file, in place of what is there.

    Returns whether the file changed, or with ``write=False`` whether it would. Raises MetaRLError unless both markers
    are there, once and in order.
    """
    path = Path(readme_path)
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise MetaRLError(f"{path} cannot be read ({error.strerror}); it needs {begin} and {end}") from error
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise MetaRLError(f"{path} needs {begin} and then {end}, each once; write them where the table belongs")
    before, after = text.split(begin)[0], text.split(end)[1]
    # Markdown sees a table only after an empty line.
    return update_file(path, f"{before}{begin}\n\n{table.strip()}\n\n{end}{after}", write)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; a bar inside a cell is escaped."""
    lines = (header, ["---"] * len(header), *rows)
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def update_file(path: Path, text: str, write: bool) -> bool:
    """Write a file unless it says so already; returns whether it changes, or with ``write=False`` would."""
    changed = not path.exists() or path.read_text(encoding="utf-8") != text
    if changed and write:
        write_atomic(path, text)
    return changed
