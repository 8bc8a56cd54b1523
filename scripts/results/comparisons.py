"""Committed comparisons: several learners on the same episodes or tasks, with paired differences.

``results/comparisons/SUBJECT/SETTING.json``, with a picture of the same name beside it:

    {subject, setting, measure, lower_is_better, split, tuned_on, against, note, headline, commands: [...],
     configs: {...}, machine, version,
     rows: [{learner, value, low, high, difference, difference_low, difference_high, seeds, repeats}, ...]}

``subject`` is a data set or what else the learners are compared on, ``setting`` such as 5w1s. ``differences`` are from
the learner ``against``, on the same ``repeats`` (episodes or tasks), each with its 95% interval; the row of that
learner has none, which is null. ``configs`` are those of the learners that were trained, ``commands`` all that it
takes. ``note`` says what a reader must know, such as who looked at the test split before;
``headline`` whether docs/few_shot.md shows it.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from matplotlib.figure import Figure

from metarl.core.errors import MetaRLError
from metarl.core.files import write_atomic
from metarl.evaluation.rows import interval_text, number
from metarl.evaluation.sums import record_sums
from metarl.plotting.style import save_figure
from results.markdown import markdown
from results.schema import TUNED_ON, interval, needed_fields, text_of, whole_number

Comparison: TypeAlias = dict[str, Any]

FOLDER = "comparisons"
FIELDS = (
    "subject", "setting", "measure", "lower_is_better", "split", "tuned_on", "against", "note", "headline", "commands",
    "configs", "machine", "version", "rows",
)  # fmt: skip
ROW = ("learner", "value", "low", "high", "difference", "difference_low", "difference_high", "seeds", "repeats")


def write_comparison(results_dir: str | Path, content: Mapping[str, Any], picture: Figure) -> Path:
    """Write a comparison and its picture, once it is checked; returns its JSON file.

    Args:
        results_dir: the folder of results.
        content: as the schema above has it.
        picture: of the learners.
    """
    root, checked = Path(results_dir), check_comparison(dict(content))
    file = root / FOLDER / checked["subject"] / f"{_file_name(checked['setting'])}.json"
    save_figure(picture, file.with_suffix(".png"))
    write_atomic(file, json.dumps(checked, indent=2, allow_nan=False) + "\n")
    record_sums(root, file.parent)
    return file


def check_comparison(content: object) -> Comparison:
    """Return a comparison; raises MetaRLError unless every field holds what the schema allows."""
    made = needed_fields(content, "comparison", FIELDS)
    for name in ("subject", "setting", "measure", "split", "against", "machine", "version"):
        text_of(made[name], name)
    text_of(made["note"], "note", empty=True)
    if made["tuned_on"] not in TUNED_ON:
        raise MetaRLError(f"tuned_on={made['tuned_on']!r}; allowed are {', '.join(TUNED_ON)}")
    if not all(isinstance(made[name], bool) for name in ("lower_is_better", "headline")):
        raise MetaRLError("lower_is_better and headline are true or false; mend them")
    if not isinstance(made["configs"], dict):
        raise MetaRLError(f"configs={made['configs']!r}; give an object by learner")
    if not made["commands"] or not isinstance(made["commands"], list):
        raise MetaRLError(f"commands={made['commands']!r}; name the commands that make it, at least one")
    learners = [_check_row(row, f"rows[{i}]", made["against"]) for i, row in enumerate(made["rows"])]
    if len(set(learners)) < len(learners) or made["against"] not in learners:
        raise MetaRLError(f"learners {learners}; each has a row of its own, and so has {made['against']!r}")
    return made


def load_comparisons(results_dir: str | Path) -> list[tuple[Path, Comparison]]:
    """Return all comparisons below a folder of results with their files, checked; raises all faults in one."""
    found, faults = [], []
    for file in sorted(Path(results_dir, FOLDER).glob("*/*.json")):
        try:
            made = check_comparison(json.loads(file.read_text()))
            if (made["subject"], _file_name(made["setting"])) != (file.parent.name, file.stem):
                raise MetaRLError(f"it is of {made['subject']}, {made['setting']}; move it there")
            if not file.with_suffix(".png").is_file():
                raise MetaRLError("its picture is missing; publish it again")
            found.append((file, made))
        except (MetaRLError, ValueError) as error:
            faults.append(f"{file}: {error}")
    if faults:
        raise MetaRLError("\n".join(faults))
    return found


def comparison_lines(file: Path, made: Comparison, results_dir: str | Path) -> str:
    """Return a comparison in Markdown: its table, the best first, how it was made, and its picture."""
    header = ["learner", made["measure"], f"against {made['against']}", "", "seeds", "repeats"]
    rows = [
        [*_cells(row, made["lower_is_better"]), str(row["seeds"]), f"{row['repeats']:,}"] for row in _best_first(made)
    ]
    commands = "\n".join(f"`{command}`\n" for command in made["commands"])
    parts = [
        f"### {made['subject']}, {made['setting']}\n",
        commands,
        f"{made['split']} split; tuned on {made['tuned_on']}; {made['machine']}; version {made['version']}.\n",
        *[f"{made['note']}\n"] * bool(made["note"]),
        markdown(header, rows),
        f"![{made['subject']}, {made['setting']}]({file.relative_to(results_dir).with_suffix('.png').as_posix()})\n",
    ]
    return "\n".join(parts)


def comparisons_text(results_dir: str | Path) -> str:
    """Return all comparisons in Markdown; nothing where there are none."""
    found = load_comparisons(results_dir)
    return "\n".join([DESCRIPTION, *(comparison_lines(*each, results_dir) for each in found)]) if found else ""


def comparisons_table(results_dir: str | Path) -> str:
    """Return one row for each headline: its best learner beside the one that differences are taken from."""
    rows = []
    for made in (made for _, made in load_comparisons(results_dir) if made["headline"]):
        ordered = _best_first(made)
        best = next((row for row in ordered if row["difference"] is not None), ordered[0])
        reference = next(row for row in ordered if row["learner"] == made["against"])
        name, score, *apart = _cells(best, made["lower_is_better"])
        other = _cells(reference, made["lower_is_better"])
        rows.append([made["subject"], made["setting"], made["measure"], name, score, *other[:2], *apart])
    header = ["data", "setting", "measure", "best", "", "against", "", "difference", ""]
    return markdown(header, rows) if rows else "No comparisons yet.\n"


DESCRIPTION = """\
## Comparisons

Learners on the same episodes or tasks, the best first. In brackets stands the wider of two 95% intervals: a bootstrap
over seeds × repeats, and Student's t over seeds. Differences are paired by repeat; *better* or *worse* where the
interval of the difference does not hold 0, *not apart* where it does.
"""


def _best_first(made: Comparison) -> list[dict[str, Any]]:
    return sorted(made["rows"], key=lambda row: row["value"] * (1 if made["lower_is_better"] else -1))


def _cells(row: Mapping[str, Any], lower_is_better: bool) -> list[str]:
    score = f"{number(row['value'])} {interval_text((row['low'], row['high']))}"
    if row["difference"] is None:
        return [row["learner"], score, "", ""]
    low, high = row["difference_low"], row["difference_high"]
    above = not lower_is_better
    word = "not apart" if low <= 0 <= high else "better" if (low > 0) == above else "worse"
    return [row["learner"], score, f"{number(row['difference'])} {interval_text((low, high))}", word]


def _check_row(row: object, where: str, against: str) -> str:
    made = needed_fields(row, where, ROW)
    interval(made, where, "value")
    if (made["learner"] == against) != (made["difference"] is None):
        raise MetaRLError(f"{where}: {made['learner']} and against={against!r}; only that learner has no difference")
    if made["difference"] is not None:
        ends = {"low": made["difference_low"], "high": made["difference_high"], "difference": made["difference"]}
        interval(ends, where, "difference")
    for name in ("seeds", "repeats"):
        whole_number(made[name], f"{where}.{name}")
    return text_of(made["learner"], f"{where}.learner")


def _file_name(setting: str) -> str:
    return re.sub(r"[^\w.-]+", "-", setting)
