"""The tables that people read, in Markdown: results/README.md and the generated parts of README.md and docs/."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metarl.evaluation.rows import interval_text, number
from metarl.evaluation.scores import STREAMS, evenly, short_name
from results.comparisons import comparisons_text
from results.files import Result, extras, load_results
from results.labels import lower_is_better
from results.markdown import markdown, update_file
from results.schema import Summary

DESCRIPTION = """\
# Results

Written by `make results` from the folders beside it: every number comes from a `summary.json` that was checked against
one schema and against its `curve.csv`. *Step k* is the normalised score after k steps of adaptation: the share of the
gap between the floor (the best reference policy that does not know the task) and the optimum that is closed, on the
very tasks that are scored. In brackets stands the wider of two 95% intervals: a bootstrap over seeds × tasks, and
Student's t over seeds, which a single seed does not have. IQM is the mean of the middle half; *noise off* means without
exploration noise. *Tuned on* is the split that the recipe was chosen by; *test* also where nobody wrote it down. There
the score may be that of the best of several recipes on the very tasks that chose it.
"""
FIGURES_DESCRIPTION = """\
## Figures

*Target* is a bound of ours, and *which is* says what bound; *published* is what a paper printed. A figure is
*reproduced* if its interval reaches the published figure. Otherwise it is *met* if its whole interval satisfies the
target, *within noise* if the bound lies inside the interval, and *below* if nothing of the interval satisfies it. *At N
steps*: training stopped before the reference's budget, so the figure is no reproduction.
"""
FEWSHOT_DESCRIPTION = """\
## Few-shot learners

Accuracies in percent of 5w1s (5 classes, 1 labelled sample of each) and the like, with 15 queries of each class that
training has not seen; mean squared errors of functions at 100 points. *Inductive*: each query is predicted from the
support alone. *To adapt*: the time on one core for one task, and the memory that it takes beside the parameters. In
brackets stands the wider of two 95% intervals: a bootstrap over seeds × episodes, and Student's t over seeds, which a
single seed does not have. Steps are training tasks.
"""
_MARK = "¹"
_UNPAIRED = f"""\
{_MARK} Scored on earlier random streams: the agent's starts hashed its training seed, and floor and optimum were played
on other starts. In all other rows agents, seeds and reference policies meet the same ones.
"""
_FIGURE = ["figure", "value", "target", "which is", "published", "label"]
POINTS_SHOWN = 8  # of a result's curve, evenly chosen
_PICTURES = {  # beside the curve, where there are any
    "learning": "{} while training",
    "belief": "What {} knows of the task",
    "posterior": "Its posterior against the true task",
    "episode": "One episode of {}: the support, the queries and what was wrong",
    "embedding": "The features of that episode",
    "function": "One function as {} predicts it",
}
STEPS_SHOWN = 3  # adaptation steps with a column of their own; of a longer curve the last point is shown too


def results_table(results: Sequence[Result]) -> str:
    """Return the table of all agents: family, split, steps, seeds, and the normalised score by adaptation step."""
    results = [result for result in results if not _is_fewshot(result)]
    if not results:
        return "No results yet.\n"
    curves = [result.summary.get("curve", []) for result in results]
    shown = sorted({point["adaptations"] for curve in curves for point in curve if point["adaptations"] <= STEPS_SHOWN})
    longer = any(_is_long(curve) for curve in curves)
    trials = any(result.summary.get("trial") for result in results)
    header = ["agent", "family", "split", "tuned on", "steps", "seeds", *(f"step {k}" for k in shown)]
    header += [*["last"] * longer, *["trial"] * trials]
    rows = []
    for result, curve in zip(results, curves, strict=True):
        content = result.summary
        of_step = {point["adaptations"]: _score(point) for point in curve}
        last = [_score(curve[-1]) if _is_long(curve) else "–"] * longer
        facts = [_agent(content), _family(content), content["split"], content["tuned_on"], _millions(content["steps"])]
        scores = [*(of_step.get(k, "–") for k in shown), *last, *[_total(content)] * trials]
        rows.append([*facts, str(len(content["seeds"])), *scores])
    return markdown(header, rows) + _footnote(results)


def figures_table(results: Sequence[Result]) -> str:
    """Return the table of all agents' figures, one a row, with their targets and what they have shown."""
    return headlines_table([result for result in results if not _is_fewshot(result)])


def headlines_table(results: Sequence[Result]) -> str:
    """Return the table of the figures of agents and few-shot learners alike, in the order of the results."""
    rows = [
        [_agent(result.summary), _family(result.summary), *_figure(each)]
        for result in results
        for each in result.summary["figures"]
    ]
    return markdown(["agent", "family", *_FIGURE], rows) + _footnote(results) if rows else "No figures yet.\n"


def learners_table(results: Sequence[Result]) -> str:
    """Return the table of all few-shot learners, by data set and figure, the best first."""
    rows = []
    for result in results:
        if not _is_fewshot(result):
            continue
        content, about = result.summary, result.summary["fewshot"]
        for each in content["figures"]:
            facts = [
                content["agent"],
                content["family"],
                *_figure(each),
                about["mark"],
                str(len(content["seeds"])),
                f"{about['episodes']:,}",
                f"{about['iterations']:,}",
                number(content["wall_seconds"] / 60),
                f"{1000 * about['adapt_seconds']:.1f}",
                number(about["adapt_bytes"] / 2**20),
            ]
            # By the words of a figure's name, then its numbers, so that step 10 is behind step 5.
            words, numbers = re.sub(r"\d+", "", each["name"]), [int(n) for n in re.findall(r"\d+", each["name"])]
            best_first = each["value"] * (1 if lower_is_better(each["name"]) else -1)
            rows.append(((content["family"], words, numbers, best_first), facts))
    if not rows:
        return "No results yet.\n"
    header = ["learner", "data set", *_FIGURE, "queries", "seeds", "episodes", "iterations", "minutes a seed"]
    return markdown([*header, "to adapt, ms", "to adapt, MB"], [facts for _, facts in sorted(rows)])


def write_results_readme(results_dir: str | Path, *, write: bool = True) -> bool:
    """Write results/README.md: the table, then each result with its command, its curve and its picture.

    Returns whether the file changed, or with ``write=False`` whether it would. Raises MetaRLError for faulty results.
    """
    results = load_results(results_dir)
    agents = [DESCRIPTION, results_table(results), FIGURES_DESCRIPTION, figures_table(results)]
    learners = [FEWSHOT_DESCRIPTION, learners_table(results)]
    text = "\n".join([*agents, *learners, comparisons_text(results_dir), *map(_section, results)])
    return update_file(Path(results_dir) / "README.md", text, write)


def _section(result: Result) -> str:
    content = result.summary
    unit = "training tasks" if _is_fewshot(result) else "steps"
    effort = f"{content['steps']:,} {unit} and {content['wall_seconds'] / 60:.1f} minutes a seed"
    parts = [
        f"## {content['agent']} on {_family(content)}, {content['split']}\n",
        f"`{content['command']}`\n",
        f"Seeds {', '.join(map(str, content['seeds']))}; {effort}; {content['machine']}; version {content['version']}; "
        f"tuned on {content['tuned_on']}; evaluation streams {content['streams']}.",
    ]
    learnt = [f"{name} {value:.4g}" for name, value in extras(result).items()]
    parts.append("; ".join(learnt).join(("Also: ", ".\n")) if learnt else "")
    header = ["episodes seen", "step", "return", "IQM", "normalised", "return, noise off", "normalised, noise off"]
    rows = [_point(point, result) for point in evenly(content.get("curve", []), POINTS_SHOWN)]
    parts += [markdown(header, rows)] * bool(rows)
    if (trial := content.get("trial")) is not None:
        parts.append(f"The whole trial of {trial['episodes']} episodes earns {_total(content)}.\n")
    rows = [_figure(each) for each in content["figures"]]
    parts += [markdown(_FIGURE, rows)] * bool(rows)
    parts.append(f"![The curve of {content['agent']} on {_family(content)}]({result.name}/curve.png)\n")
    for name, words in _PICTURES.items():
        if (result.folder / f"{name}.png").exists():
            parts.append(f"![{words.format(content['agent'])}]({result.name}/{name}.png)\n")
    if (result.folder / "adaptation.mp4").exists():
        parts.append(f"[A video of {content['agent']} as it adapts]({result.name}/adaptation.mp4)\n")
    return "\n".join(parts)


def _agent(content: Summary) -> str:
    return f"{content['agent']}{f' {_MARK}' * (content['streams'] < STREAMS)}"


def _footnote(results: Sequence[Result]) -> str:
    return f"\n{_UNPAIRED}" if any(result.summary["streams"] < STREAMS for result in results) else ""


def _figure(each: dict[str, Any]) -> list[str]:
    """Return the cells of one figure; a dash where nothing is known."""
    known = [str(each[name] or "–") for name in ("target", "basis", "published", "label")]
    return [each["name"], _bracketed(each["value"], each, _digits(each)), *known]


def _is_fewshot(result: Result) -> bool:
    return "fewshot" in result.summary


def _total(content: Summary) -> str:
    trial = content.get("trial")
    return _bracketed(trial["return"]["mean"], trial["return"], None) if trial else "–"


def _point(point: dict[str, Any], result: Result) -> list[str]:
    means = result.points.get((point["episodes"], point["adaptations"]), {})
    returns, normalised = point["return"], point["normalised"]
    quiet, quiet_normalised = (
        means.get(name, math.nan) for name in ("return_deterministic", "normalised_deterministic")
    )
    return [
        str(point["episodes"]),
        str(point["adaptations"]),
        _bracketed(returns["mean"], returns, None),
        number(returns["iqm"]),
        "–" if normalised is None else _bracketed(normalised["mean"], normalised, 3),
        "–" if math.isnan(quiet) else number(quiet),
        "–" if math.isnan(quiet_normalised) else number(quiet_normalised, 3),
    ]


def _score(point: dict[str, Any]) -> str:
    """Return the normalised score with its interval, or, where floor and optimum are unknown, the return."""
    if point["normalised"] is None:
        return f"return {_bracketed(point['return']['mean'], point['return'], None)}"
    return _bracketed(point["normalised"]["mean"], point["normalised"], 3)


def _bracketed(value: float, ends: dict[str, Any], digits: int | None) -> str:
    return f"{number(value, digits)} {interval_text((ends['low'], ends['high']), digits)}"


def _digits(figure: dict[str, Any]) -> int:
    """Return the decimals of a figure, one more than its target has, to show on which side of it the interval ends.

    Scores and errors are small numbers and have three; accuracies in percent and returns are not.
    """
    of_target = len((figure["target"] or "").partition(".")[2]) + 1
    return 3 if abs(figure["value"]) < 10 else of_target


def _is_long(curve: Sequence[dict[str, Any]]) -> bool:
    return bool(curve) and curve[-1]["adaptations"] > STEPS_SHOWN


def _family(content: Summary) -> str:
    return short_name(content["family"]) + (f" ({content['variant']})" if content["variant"] else "")


def _millions(steps: int) -> str:
    return f"{number(steps / 1e6)}M" if steps >= 1_000_000 else f"{steps:,}"
