"""Small enough to read: no file holds more than one idea's worth of lines."""

import statistics
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST, MEDIAN = 300, 130  # lines


def test_files_are_short() -> None:
    files = [file for folder in ("metarl", "envs", "agents", "scripts") for file in (ROOT / folder).rglob("*.py")]
    lines = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in files}
    assert {name: n for name, n in lines.items() if n > LONGEST} == {}
    assert statistics.median(lines.values()) <= MEDIAN
