"""Committed results: the schema, labels that cannot claim too much, the check against curve.csv, the tables."""

import copy
import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metarl.core.errors import MetaRLError
from metarl.evaluation.rows import number
from metarl.evaluation.sums import record_sums
from results.files import FILES, check_result, extras, load_results, write_result
from results.markdown import insert_table, markdown
from results.pages import HEADLINES, headlines, tables
from results.report import figures_table, learners_table, results_table, write_results_readme
from results.schema import check_summary
from results.summaries import figure, summary

ROOT = Path(__file__).resolve().parents[2]
FACTS = {
    "command": "python scripts/train.py maml metarl/PointNavigation-v0",
    "machine": "2 cores",
    "version": "0.1.0",
    "tuned_on": "val",
}
README = "# metarl\n\n<!-- results:begin -->\nold\n<!-- results:end -->\n\nThe end.\n"


@pytest.fixture(scope="module")
def content(make_evaluation) -> dict[str, Any]:
    """A valid summary."""
    evaluation = make_evaluation()
    figures = [
        figure(evaluation, "normalised step 1", target=">= 0.65", basis="best baseline", published=0.5),
        figure(evaluation, "normalised", target=">= 1.2", basis="more than the optimum", published="1.5, noise off"),
    ]
    return summary(evaluation, **FACTS, figures=figures)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any], make_evaluation) -> Path:
    """A folder with the results of two agents on one family, which nobody changes."""
    root = tmp_path_factory.mktemp("written")
    write_result(root, make_evaluation(), content, {"lr": 0.1})
    finetune = make_evaluation(agent="finetune", shares=(0.0, 0.2, 0.3, 0.4))
    write_result(root, finetune, summary(finetune, **FACTS, figures=[]), {"lr": 0.3})
    return root


@pytest.fixture
def results(tmp_path: Path, written: Path) -> Path:
    """A copy of it to play with."""
    return Path(shutil.copytree(written, tmp_path / "results"))


def test_a_summary_is_what_the_evaluation_says(make_evaluation, content: dict[str, Any]) -> None:
    evaluation = make_evaluation()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert {name: content[name] for name in ("agent", "family", "variant", "split", "seeds", "steps")} == {
        "agent": "maml",
        "family": "metarl/PointNavigation-v0",
        "variant": "maml",
        "split": "test (fresh)",
        "seeds": [0, 1, 2],
        "steps": 2_000_000,
    }
    for entry, point in zip(content["curve"], evaluation.points, strict=True):
        assert (entry["episodes"], entry["adaptations"]) == (point.episodes, point.adaptations)
        low, high = point.returns.interval
        assert entry["return"] == {"mean": point.returns.value, "iqm": point.iqm, "low": low, "high": high}
        low, high = point.normalised.interval
        assert entry["normalised"] == {"mean": point.normalised.value, "low": low, "high": high}


def test_figures_are_read_off_the_evaluation(make_evaluation, content: dict[str, Any]) -> None:
    first, last = content["figures"]
    points = make_evaluation().points
    assert first["value"] == points[1].normalised.value
    assert (first["low"], first["high"]) == points[1].normalised.interval
    assert (first["label"], first["published"], first["basis"]) == ("reproduced", 0.5, "best baseline")
    assert last["value"] == points[3].normalised.value
    assert last["label"] == "below"
    assert figure(make_evaluation(), "return step 2")["value"] == points[2].returns.value
    assert figure(make_evaluation(), "return")["value"] == points[3].returns.value


@pytest.mark.parametrize(
    ("name", "message"),
    [("5w1s", "ask for"), ("normalised step 9", r"adaptation steps \(0, 1, 2, 3\)"), ("normalised step", "ask for")],
)
def test_figures_that_an_evaluation_does_not_have_are_refused(make_evaluation, name: str, message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        figure(make_evaluation(), name)


def test_no_normalised_figure_without_an_optimum(make_evaluation) -> None:
    with pytest.raises(MetaRLError, match="ask for the return"):
        figure(make_evaluation(optimum=None), "normalised")


def put(value: object, *path: str | int) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        inner: Any = content
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value

    return change


def drop(*path: str | int) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        inner: Any = content
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("machine"), "summary lacks machine; its fields are agent"),
        (put(1, "colour"), "summary has unknown colour"),
        (put("", "agent"), "agent=''; it must be text, and not empty"),
        (put(3, "variant"), "variant=3; it must be text"),
        (put("test", "split"), r"split='test'; allowed are .*test \(same tasks\)"),
        (put([], "seeds"), "at least one"),
        (put([0, 0], "seeds"), "each training seed once"),
        (put([0, True], "seeds"), "seeds holds True; it must be a whole number"),
        (put(1e6, "steps"), "steps holds 1000000.0; it must be a whole number"),
        (put(-1.0, "wall_seconds"), "wall_seconds=-1.0"),
        (put("long", "wall_seconds"), "wall_seconds='long'; it must be a finite number"),
        (put([], "curve"), "leave it out"),
        (drop("curve", 1, "normalised"), r"curve\[1\] lacks normalised"),
        (drop("curve", 1, "return", "iqm"), r"curve\[1\]\.return lacks iqm"),
        (put(float("nan"), "curve", 1, "return", "mean"), r"curve\[1\]\.return\.mean=nan"),
        (put(float("inf"), "curve", 1, "return", "iqm"), r"curve\[1\]\.return\.iqm=inf"),
        (put(9.0, "curve", 2, "normalised", "mean"), r"curve\[2\]\.normalised: mean=9.0 lies outside its interval"),
        (put(30, "curve", 0, "episodes"), "increasing order"),
        (put("none", "figures"), "figures='none'; it must be a list"),
        (put("score", "figures", 0, "name"), r"figures\[0\]\.name='score'; figures have fixed names: return"),
        (put("normalised step 1", "figures", 1, "name"), "repeat a name"),
        (put(True, "figures", 0, "value"), r"figures\[0\]\.value=True"),
        (drop("streams"), "summary lacks streams"),
        (put(3, "streams"), "streams=3; allowed are 1 to 2"),
        (put(True, "streams"), "streams=True"),
        (put("luck", "tuned_on"), "tuned_on='luck'; allowed are published recipe, train, val, test"),
        (put([1], "figures", 0, "published"), r"figures\[0\]\.published=\[1\]; give what a paper printed"),
        (put("none", "figures", 0, "published"), r"figures\[0\]\.published='none'"),
        (put(True, "figures", 0, "published"), r"figures\[0\]\.published=True"),
        (put("0.65", "figures", 0, "target"), r"figures\[0\]\.target=\'0.65\'; write a comparison and a number"),
        (put(0.65, "figures", 0, "target"), r"figures\[0\]\.target=0.65"),
        (put("", "figures", 0, "basis"), r"figures\[0\]\.basis=''"),
        (put(None, "figures", 0, "basis"), r"figures\[0\]\.basis=None"),
        (put(None, "figures", 0, "target"), r"figures\[0\]\.basis='best baseline' without a target"),
        (put(1.5, "figures", 0, "budget"), r"figures\[0\]\.budget holds 1.5"),
        (put(3_000_000, "figures", 0, "budget"), "is labelled 'reproduced'; label it 'met, at 2000000 steps'"),
        (put("good", "figures", 0, "label"), "is labelled 'good'; label it 'reproduced'"),
        (put("at 2000000 steps", "figures", 0, "label"), "label it 'reproduced'"),
        (put("below", "figures", 0, "label"), "label it 'reproduced'"),
        (put("met", "figures", 0, "label"), "label it 'reproduced'"),
        (put(None, "figures", 0, "label"), "label it 'reproduced'"),
        (put("reproduced", "figures", 1, "label"), "with target >= 1.2, .*label it 'below'"),
    ],
)
def test_the_schema_refuses(content: dict[str, Any], change: Callable[[dict[str, Any]], None], message: str) -> None:
    changed = copy.deepcopy(content)
    change(changed)
    with pytest.raises(MetaRLError, match=message):
        check_summary(changed)


@pytest.mark.parametrize(
    "change",
    [
        drop("curve"),
        put([], "figures"),
        put("", "variant"),
        put(None, "curve", 0, "normalised"),
        put(1, "streams"),
        put("published recipe", "tuned_on"),
        put(2_000_000, "figures", 0, "budget"),
        *(
            put(name, "figures", 0, "name")
            for name in ("return", "n=100 k=5", "n=10", "5w1s", "20w5s", "auroc", "rocauc 10-shot")
        ),
    ],
)
def test_the_schema_allows(content: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    changed = copy.deepcopy(content)
    change(changed)
    assert check_summary(changed) == changed


@pytest.mark.parametrize("thing", [None, [], "summary"])
def test_a_summary_is_an_object(thing: object) -> None:
    with pytest.raises(MetaRLError, match="must be an object"):
        check_summary(thing)


def test_a_result_is_written_whole_and_checked(results: Path) -> None:
    folder = results / "maml" / "PointNavigation-maml"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert json.loads((folder / "config.json").read_text()) == {"lr": 0.1}
    result = check_result(folder, results)
    assert result.name == "maml/PointNavigation-maml"
    assert extras(result) == {"sd": 0.25}


def edit(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "summary.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return apply


def replace(file: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_text((folder / file).read_text().replace(old, new, 1))  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        *((lambda folder, file=file: (folder / file).unlink(), f"lacks {file}") for file in FILES),
        (lambda folder: (folder / "summary.json").write_text('{"agent'), "summary.json is no JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json holds a list"),
        (lambda folder: (folder / "curve.png").write_bytes(b"GIF89a"), "no PNG"),
        (edit(put("promp", "agent")), "belong into promp/PointNavigation-maml"),
        (edit(put("pearl", "variant")), "belong into maml/PointNavigation-pearl"),
        (edit(put([0, 1], "seeds")), "other seeds"),
        (edit(drop("curve", 3)), "points"),
        (edit(put({"mean": -5.0, "iqm": -5.0, "low": -9.0, "high": -1.0}, "curve", 1, "return")), "says return -5.0"),
        (edit(put({"mean": 0.99, "low": 0.9, "high": 1.0}, "curve", 1, "normalised")), "says normalised 0.99"),
        (replace("curve.csv", "episodes", "time"), "it needs adaptations, episodes"),
        (replace("curve.csv", "0,0,0,0,-", "0,0,0,0,-9"), "says return"),
        (replace("curve.csv", "0,0,0,0,-", "0,0,0,0,x"), "damaged"),
        (replace("curve.csv", "\n0,0,0,0,", "\n0,0,0,,"), "lacks a number"),
    ],
)
def test_a_faulty_result_is_named(results: Path, damage: Callable[[Path], None], message: str) -> None:
    folder = results / "maml" / "PointNavigation-maml"
    damage(folder)
    with pytest.raises(MetaRLError, match=rf"maml.PointNavigation-maml.*{message}"):
        load_results(results)


def test_all_faults_are_told_at_once(results: Path) -> None:
    for agent in ("maml", "finetune"):
        (results / agent / "PointNavigation-maml" / "curve.png").unlink()
    with pytest.raises(MetaRLError, match=r"finetune[^\n]*\n[^\n]*maml"):
        load_results(results)


def test_a_result_in_the_wrong_place_is_named(results: Path) -> None:
    stray = results / "maml" / "PointNavigation-maml" / "old"
    stray.mkdir()
    (stray / "summary.json").write_text("{}")
    with pytest.raises(MetaRLError, match=r"old.*move it there"):
        load_results(results)


def test_few_shot_results_have_a_folder_and_a_curve_of_their_own(results: Path, content: dict[str, Any]) -> None:
    folder = results / "fewshot" / "prototypical" / "omniglot"
    folder.mkdir(parents=True)
    seeds = "".join(f"5w1s,{seed},10,1000,98.2,98,2\n" for seed in content["seeds"])
    curve = f"figure,seed,step,episodes,mean,median,sd\n{seeds}"
    name = {"name": "5w1s", "value": 98.2, "low": 98.0, "high": 98.4, "published": 98.8, "target": ">= 98"}
    name = {**name, "basis": "best public code", "budget": None}
    changed = {**content, "agent": "prototypical", "family": "omniglot", "variant": "", "split": "test (disjoint)"}
    changed = {**changed, "figures": [{**name, "label": "met"}]}
    del changed["curve"]
    about = {"mark": "inductive", "episodes": 1000, "iterations": 10, "parameters": 5, "adapt_seconds": 0.5}
    changed["fewshot"] = {**about, "adapt_bytes": 2**20}
    (folder / "summary.json").write_text(json.dumps(changed))
    (folder / "config.json").write_text("{}")
    (folder / "curve.csv").write_text(curve)
    (folder / "curve.png").write_bytes((results / "maml/PointNavigation-maml/curve.png").read_bytes())
    checked = load_results(results)
    assert "prototypical" not in results_table(checked)
    row = next(line for line in learners_table(checked).splitlines() if "prototypical" in line)
    assert "| 5w1s | 98.2 [98.0, 98.4] | >= 98 | best public code | 98.8 | met | inductive | 3 | 1,000 | 10 |" in row
    assert "| 500.0 | 1.00 |" in row
    assert "prototypical" not in figures_table(checked)
    for wrong, message in (
        ({"mark": "fair"}, "allowed are inductive, transductive"),
        ({"episodes": -1}, "fewshot.episodes holds -1"),
        ({"adapt_seconds": -1}, "give 0 or more"),
    ):
        bad = {**changed, "fewshot": {**changed["fewshot"], **wrong}}
        with pytest.raises(MetaRLError, match=message):
            check_summary(bad)
    for line, message in (
        ("5w1s,2,10,1000,97.2,98,2", "the summary says 5w1s 98.2"),
        ("a,b", "is damaged"),
        ("\udcff", "is damaged"),
    ):
        (folder / "curve.csv").write_text(curve.replace(curve.splitlines()[-1], line), errors="surrogateescape")
        with pytest.raises(MetaRLError, match=message):
            load_results(results)


def test_the_table_has_each_agent_with_its_scores_by_step_best_first(results: Path, make_evaluation) -> None:
    header, _, *rows = results_table(load_results(results)).splitlines()
    assert header == "| agent | family | split | tuned on | steps | seeds | step 0 | step 1 | step 2 | step 3 |"
    assert [row.split(" | ")[0] for row in rows] == ["| maml", "| finetune"]
    score = make_evaluation().points[1].normalised
    low, high = score.interval
    assert f"| {number(score.value, 3)} [{number(low, 3)}, {number(high, 3)}] |" in rows[0]
    assert "| PointNavigation (maml) | test (fresh) | val | 2.00M | 3 |" in rows[0]
    assert all(row.count("|") == header.count("|") for row in rows)


def test_figures_have_a_row_each_with_what_the_bound_is(results: Path, make_evaluation) -> None:
    header, _, *rows = figures_table(load_results(results)).splitlines()
    assert header == "| agent | family | figure | value | target | which is | published | label |"
    score = make_evaluation().points[1].normalised
    value = "{} [{}, {}]".format(*(number(each, 3) for each in (score.value, *score.interval)))
    start = "| maml | PointNavigation (maml) |"
    first = f"{start} normalised step 1 | {value} | >= 0.65 | best baseline | 0.5 | reproduced |"
    assert rows[0] == first
    assert rows[1].startswith(f"{start} normalised | ")
    assert rows[1].endswith("| >= 1.2 | more than the optimum | 1.5, noise off | below |")
    assert len(rows) == 2
    assert figures_table([]) == "No figures yet.\n"


def test_scores_on_old_streams_are_marked_and_explained(results: Path) -> None:
    assert "¹" not in results_table(load_results(results)) + figures_table(load_results(results))
    edit(put(1, "streams"))(results / "maml" / "PointNavigation-maml")
    for table in (results_table(load_results(results)), figures_table(load_results(results))):
        assert "| maml ¹ |" in table
        assert "| finetune ¹ |" not in table
        assert "\n\n¹ Scored on earlier random streams" in table


def test_a_returns_decimals_show_on_which_side_of_its_target_an_interval_ends(results: Path) -> None:
    close = {"value": 78.25, "low": 78.151, "high": 78.36, "target": ">= 78.2", "published": None}

    def change(content: dict[str, Any]) -> None:
        content["figures"][0].update(**close, label="within noise")

    edit(change)(results / "maml" / "PointNavigation-maml")
    assert "| 78.25 [78.15, 78.36] | >= 78.2 |" in figures_table(load_results(results))


def test_longer_curves_show_their_last_point_and_returns_where_nothing_else_is_known(
    results: Path, make_evaluation
) -> None:
    pearl = make_evaluation(agent="pearl", shares=(0, 0.1, 0.2, 0.3, 0.4, 0.5), optimum=None, variant="")
    write_result(results, pearl, summary(pearl, **FACTS, figures=[]), {})
    header, _, *rows = results_table(load_results(results)).splitlines()
    assert "| step 3 | last |" in header
    row = next(row for row in rows if "pearl" in row)
    assert f"| return {number(pearl.points[5].returns.value)} [" in row
    assert "| PointNavigation | " in row


def test_no_results_is_said() -> None:
    assert results_table([]) == "No results yet.\n"


def test_the_readme_tells_all_and_is_written_once(results: Path, make_evaluation) -> None:
    assert write_results_readme(results, write=False)
    assert not (results / "README.md").exists()
    assert write_results_readme(results)
    assert not write_results_readme(results)
    text = (results / "README.md").read_text()
    assert results_table(load_results(results)) in text
    assert "(maml/PointNavigation-maml/curve.png)" in text
    assert FACTS["command"] in text
    assert "Also: sd 0.25." in text
    point = make_evaluation().points[1]
    quiet = number(point.returns_deterministic.value), number(point.normalised_deterministic.value, 3)
    assert f"| {quiet[0]} | {quiet[1]} |" in text
    assert figures_table(load_results(results)) in text
    assert "tuned on val; evaluation streams 2." in text
    (results / "maml" / "PointNavigation-maml" / "adaptation.mp4").write_bytes(b"a video")
    assert "adaptation.mp4" not in text
    assert write_results_readme(results)
    assert "(maml/PointNavigation-maml/adaptation.mp4)" in (results / "README.md").read_text()


def test_a_table_is_inserted_between_its_markers(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(README)
    assert insert_table(path, "results", "| a |", write=False)
    assert path.read_text() == README
    assert insert_table(path, "results", "| a |")
    assert path.read_text() == README.replace("old", "\n| a |\n")
    assert not insert_table(path, "results", "| a |")
    assert insert_table(path, "results", "| b |")
    assert "| a |" not in path.read_text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<!-- results:begin -->",
        "<!-- results:end --><!-- results:begin -->",
        README + README,
    ],
)
def test_a_readme_without_its_markers_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(MetaRLError, match=r"needs <!-- results:begin --> and then <!-- results:end -->"):
        insert_table(path, "results", "| a |")
    assert path.read_text() == text


def test_a_missing_readme_is_named(tmp_path: Path) -> None:
    with pytest.raises(MetaRLError, match=r"README\.md cannot be read"):
        insert_table(tmp_path / "README.md", "results", "| a |")


def test_bars_in_cells_are_escaped() -> None:
    assert markdown(["a", "b"], [["x|y", "z"]]) == "| a | b |\n| --- | --- |\n| x\\|y | z |\n"


@pytest.fixture
def main() -> Callable[..., int]:
    return runpy.run_path(str(ROOT / "scripts" / "check_results.py"))["main"]


@pytest.fixture
def pages(results: Path, tmp_path: Path) -> Path:
    """A root with every page that has generated tables, before they are written."""
    for page, made in tables(results, load_results(results)).items():
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / page).write_text("\n".join(f"<!-- {name}:begin -->\n<!-- {name}:end -->" for name in made))
    return tmp_path


def contents(pages: Path) -> list[str]:
    return [page.read_text() for page in (pages / "README.md", *sorted((pages / "docs").rglob("*.md")))]


def test_the_script_checks_then_writes(results: Path, pages: Path, main, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(pages)
    assert main(results, pages, check=True) == 1
    assert "out of date" in capsys.readouterr().out
    assert contents(pages) == before
    assert main(results, pages) == 0
    assert main(results, pages, check=True) == 0
    agents = pages / "docs" / "agents"
    assert "| maml | PointNavigation" in (agents / "maml.md").read_text()
    assert "| finetune |" not in (agents / "maml.md").read_text()
    assert "| finetune | PointNavigation" in (agents / "baselines.md").read_text()
    assert "| `maml` | `trpo` | MAML-TRPO as in the literature | 40 | 32 |" in (agents / "maml.md").read_text()
    assert "| `metarl/PointNavigation-v0` |" in (pages / "docs" / "families.md").read_text()
    assert results_table(load_results(results)) in (results / "README.md").read_text()


def test_the_headlines_are_figures_that_there_are() -> None:
    shown = headlines(load_results(ROOT / "results"))
    assert [(each.name, *(figure["name"] for figure in each.summary["figures"])) for each in shown] == [*HEADLINES]


def test_the_script_refuses_a_faulty_result_and_writes_nothing(results: Path, pages: Path, main, capsys) -> None:
    before = contents(pages)
    edit(put("reproduced", "figures", 1, "label"))(results / "maml" / "PointNavigation-maml")
    assert main(results, pages) == 1
    assert "label it 'below'" in capsys.readouterr().err
    assert contents(pages) == before
    assert not (results / "README.md").exists()


def test_the_script_accepts_a_change_only_when_told_to(results: Path, pages: Path, main, capsys) -> None:
    record_sums(results)
    picture = next(results.glob("*/*/curve.png"))
    picture.write_bytes(picture.read_bytes() + b" ")
    assert main(results, pages) == 1
    assert main(results, pages, check=True, accept=True) == 1
    assert "--accept" in capsys.readouterr().err
    assert main(results, pages, accept=True) == 0
    assert main(results, pages, check=True) == 0


def test_a_curve_that_is_no_text_is_named(results: Path) -> None:
    folder = results / "maml" / "PointNavigation-maml"
    whole = (folder / "curve.csv").read_bytes()
    for damaged in (b"\xff,1\n", whole[:-3] + b"\xb0" + whole[-3:]):
        (folder / "curve.csv").write_bytes(damaged)
        with pytest.raises(MetaRLError, match=r"curve\.csv is damaged"):
            check_result(folder, results)


def test_the_script_runs_from_the_command_line(results: Path, pages: Path) -> None:
    command = [sys.executable, ROOT / "scripts" / "check_results.py", "--results", results, "--root", pages, "--check"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 1, done.stderr
    assert "out of date" in done.stdout
