"""Trials of many episodes, very many tasks: totals, figures, tables, files; reference policies beside agents."""

import csv
import io
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from metarl.cli.main import main
from metarl.core.errors import MetaRLError
from metarl.evaluation import driver, packing
from metarl.evaluation import scores_csv as csv_module
from metarl.evaluation.comparison import comparison_csv, comparison_table, separation_rows
from metarl.evaluation.outcome import evaluate_run, save_outcome, saved_or_new_outcome
from metarl.evaluation.references import reference_evaluations, reference_returns
from metarl.evaluation.scores import Evaluation, evenly
from metarl.evaluation.scores_csv import scores_csv
from metarl.evaluation.statistics import estimate
from metarl.evaluation.tables import curve_table, evaluation_json, trial_row
from metarl.experiments.run import Run
from metarl.experiments.training import train_run
from metarl.family import make_family
from metarl.plotting.curves import comparison_figure, curve_figure, learning_figure
from metarl.plotting.outcome import save_outcome_figures
from results.files import check_result, write_result
from results.report import write_results_readme
from results.summaries import figure, summary

ROOT = Path(__file__).resolve().parents[2]
FACTS = {"command": "metarl train", "machine": "2 cores", "version": "0.1.0", "tuned_on": "val"}
BANDIT = "metarl/BernoulliBandit-v0"


def printed(renderable: object, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture
def trial(make_evaluation: Callable[..., Evaluation]) -> Evaluation:
    """100 episodes of one trial on 20 tasks."""
    return make_evaluation(
        agent="rl2", shares=tuple(np.linspace(0, 0.9, 100)), episodes=tuple(range(100)), trial=True, deterministic=False
    )


@pytest.fixture
def run(tmp_path: Path, remember: ModuleType) -> Run:
    made = Run.create(
        tmp_path / "run",
        "remember:MemoryLearner",
        BANDIT,
        "k5",
        remember.Config(),
        [0, 1],
        "metarl train remember:MemoryLearner",
    )
    train_run(made, jobs=1)
    return made


# --- the total ---


def test_the_total_is_the_sum_over_the_episodes_of_each_task(trial: Evaluation) -> None:
    total = trial.trial_total
    assert total is not None
    assert total.episodes == 100
    assert total.returns == estimate(trial.returns.sum(axis=1))
    # The share of the gap is that of the mean episode.
    assert total.normalised is not None
    assert trial.normalised is not None
    assert total.normalised.value == pytest.approx(trial.normalised.mean())
    assert total.returns.interval.width < 100 * max(point.returns.interval.width for point in trial.points)


def test_points_that_are_no_trial_have_no_total(make_evaluation: Callable[..., Evaluation]) -> None:
    assert make_evaluation().trial_total is None
    assert trial_row(make_evaluation()) is None
    with pytest.raises(MetaRLError, match="one after the other"):
        make_evaluation(trial=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("return episode 1", lambda e: e.returns[:, 0].mean()),
        ("return episode 100", lambda e: e.returns[:, 99].mean()),
        ("return step 1", lambda e: e.returns[:, 1].mean()),
        ("normalised episode 10", lambda e: e.normalised[9]),
        ("return episodes 3-5", lambda e: e.returns[:, 2:5].mean()),
        ("normalised episodes 3-5", lambda e: e.normalised[2:5].mean()),
        ("return trial", lambda e: e.returns.sum(1).mean()),
        ("normalised trial", lambda e: e.normalised.mean()),
        ("n=100", lambda e: e.returns.sum(1).mean()),
        ("n=100 k=2", lambda e: e.returns.sum(1).mean()),
    ],
)
def test_figures_of_trials(trial: Evaluation, name: str, value: Callable[[Evaluation], float]) -> None:
    found = figure(trial, name)
    assert found["value"] == pytest.approx(value(trial))
    assert found["low"] <= found["value"] <= found["high"]
    summary(trial, **FACTS, figures=[found])  # the schema knows its name


def test_figures_without_exploration_noise(trial: Evaluation) -> None:
    quiet = np.random.default_rng(0).uniform(size=trial.returns.shape)
    both = Evaluation(**{**vars_of(trial), "returns_deterministic": quiet})
    for name, value in (
        ("return episodes 3-5, deterministic", quiet[:, 2:5].mean()),
        ("return episode 2, deterministic", quiet[:, 1].mean()),
        ("normalised, deterministic", both.points[-1].normalised_deterministic.value),
    ):
        found = figure(both, name)
        assert found["value"] == pytest.approx(value)
        summary(both, **FACTS, figures=[found])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("return episode 101", "episodes 1 to 100"),
        ("return episode 0", "episodes 1 to 100"),
        ("return episodes 5-4", "the first of them first"),
        ("return episodes 0-4", "episodes 1 to 100"),
        ("return episodes 99-101", "episodes 1 to 100"),
        ("return trial, deterministic", "without exploration noise"),
        ("n=10", "100 episodes"),
        ("n=100 k=5", "a task 2 numbers"),
    ],
)
def test_figures_that_a_trial_does_not_have(trial: Evaluation, name: str, message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        figure(trial, name)


@pytest.mark.parametrize("name", ["n=4", "return trial", "return episode 1", "return episodes 1-2"])
def test_only_trials_have_figures_of_trials(make_evaluation: Callable[..., Evaluation], name: str) -> None:
    with pytest.raises(MetaRLError, match="successive episodes of a trial"):
        figure(make_evaluation(), name)


def test_a_result_keeps_the_total_and_is_checked_against_its_curve(trial: Evaluation, tmp_path: Path) -> None:
    folder = write_result(tmp_path, trial, summary(trial, **FACTS, figures=[]), {})
    content = json.loads((folder / "summary.json").read_text())
    assert content["trial"]["return"]["mean"] == pytest.approx(trial.returns.sum(1).mean())
    write_results_readme(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "The whole trial of 100 episodes earns" in text
    assert len([line for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()]) == 8
    content["trial"]["return"] |= {"mean": 1.0, "low": 0.0, "high": 2.0}
    (folder / "summary.json").write_text(json.dumps(content))
    with pytest.raises(MetaRLError, match="for a trial of 100 episodes"):
        check_result(folder, tmp_path)


# --- what people read ---


def test_a_long_curve_is_shown_by_a_few_rows_and_its_total(trial: Evaluation) -> None:
    text = printed(curve_table(trial))
    rows = [line.split() for line in text.splitlines() if line.split()[:1]]
    assert [row[0] for row in rows if row[0].isdigit() and row[0] == row[1]] == [
        *map(str, (0, 14, 28, 42, 57, 71, 85, 99))
    ]
    assert any(row[0] == "trial" for row in rows)
    assert "…" not in text
    content = evaluation_json(trial)
    assert len(content["curve"]) == 100
    assert content["trial"]["return"]["mean"] == pytest.approx(trial.returns.sum(1).mean())


def test_evenly_keeps_both_ends() -> None:
    assert evenly(range(5), 8) == [0, 1, 2, 3, 4]
    assert evenly(range(101), 5) == [0, 25, 50, 75, 100]
    assert len(set(evenly(range(9), 8))) == 8


def test_the_picture_of_a_long_trial_has_no_markers_and_no_single_tasks(trial: Evaluation) -> None:
    axes = curve_figure(trial).axes[0]
    assert len(axes.lines) == 3  # the curve, floor and optimum
    assert not [each for each in axes.collections if len(each.get_offsets()) > 1]
    assert len(axes.get_xticks()) < 10


def test_one_wild_episode_does_not_squeeze_a_long_curve(trial: Evaluation) -> None:
    returns = np.array(trial.returns)
    returns[:, 50] *= np.array([30, 1, 1])[:, None]
    low, _ = curve_figure(Evaluation(**{**vars_of(trial), "returns": returns})).axes[0].get_ylim()
    assert low > -2 * abs(trial.floor.mean()) - 400


def vars_of(evaluation: Evaluation) -> dict[str, Any]:
    return {name: getattr(evaluation, name) for name in Evaluation.__dataclass_fields__}


def test_only_some_of_many_tasks_are_drawn(make_evaluation: Callable[..., Evaluation]) -> None:
    axes = curve_figure(make_evaluation(n_tasks=500)).axes[0]
    assert len([each for each in axes.lines if each.get_linewidth() == 0.7]) == 200


def test_learning_curves_of_trials_are_named(tmp_path: Path) -> None:
    def names(*columns: str) -> set[str]:
        lines = [["steps", *columns], ["1", *["2"] * len(columns)], ["2", *["3"] * len(columns)]]
        (tmp_path / "a.csv").write_text("\n".join(map(",".join, lines)))
        axes = learning_figure([tmp_path / "a.csv"], steps="steps", returns=columns).axes[0]
        return {text.get_text() for text in axes.get_legend().texts}

    assert {"episode 1", "episode 2"} <= names("rollout/return_episode_1", "rollout/return_episode_2")
    found = names("rollout/return_first", "rollout/return_last", "rollout/return_trial")
    assert {"first episode", "last episode"} <= found
    assert "whole trial" not in found  # of another size
    assert "whole trial" in names("rollout/return_trial")


# --- very many tasks ---


def test_very_many_numbers_are_packed_bit_for_bit(
    make_evaluation: Callable[..., Evaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = make_evaluation(n_tasks=50)
    monkeypatch.setattr(packing, "FEW", 100)
    text = plain.to_json()
    assert isinstance(json.loads(text)["returns"], dict)
    again = Evaluation.from_json(text)
    np.testing.assert_array_equal(again.returns, plain.returns)
    np.testing.assert_array_equal(again.returns_deterministic, plain.returns_deterministic)
    content = json.loads(text)
    content["returns"]["zlib"] = content["returns"]["zlib"][:40]
    with pytest.raises(MetaRLError, match="packed array is damaged"):
        Evaluation.from_json(json.dumps(content))


def test_a_table_of_very_many_rows_has_means_and_is_a_sound_result(
    make_evaluation: Callable[..., Evaluation], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    evaluation = make_evaluation()
    monkeypatch.setattr(csv_module, "MOST_ROWS", 100)
    rows = list(csv.DictReader(io.StringIO(scores_csv(evaluation))))
    assert len(rows) == 3 * 4
    row = rows[2 * 4 + 1]
    assert (row["seed"], row["episodes"], row["adaptations"], row["task"]) == ("2", "20", "1", "")
    assert float(row["return"]) == pytest.approx(evaluation.returns[2, 1].mean())
    assert float(row["floor"]) == pytest.approx(evaluation.floor.mean())
    assert float(row["sd"]) == 0.25
    folder = write_result(tmp_path, evaluation, summary(evaluation, **FACTS, figures=[]), {})
    result = check_result(folder, tmp_path)
    assert result.points[20, 1]["normalised"] == pytest.approx(evaluation.normalised[1])


# --- reference policies ---


@pytest.fixture
def agent(make_evaluation: Callable[..., Evaluation]) -> Evaluation:
    """An agent's evaluation on 20 bandits, 4 episodes."""
    family = make_family(BANDIT, "k5")
    tasks = family.splits.test[:20]
    content = {"family": BANDIT, "variant": "k5", "episodes": (0, 1, 2, 3), "trial": True}
    floor, optimum = (np.tile(each, (4, 1)) for each in (tasks.vector.mean(1), tasks.vector.max(1)))
    arrays = {"task_vectors": tasks.vector, "floor": floor, "optimum": optimum}
    returns = np.full((3, 4, 20), 0.6)
    return make_evaluation(agent="rl2", returns=returns, deterministic=False, **content, **arrays)


def test_players_are_scored_beside_agents(agent: Evaluation) -> None:
    family = make_family(BANDIT, "k5")
    tasks = family.splits.test[:20]
    both = reference_evaluations(["greedy", "best arm"], [agent], family, tasks)
    assert [each.agent for each in both] == ["greedy (reference policy)", "best arm (reference policy)"]
    for each in both:
        assert (each.seeds, each.reference, each.trial, each.steps) == ((0,), True, True, 0)
        assert each.episodes == (0, 1, 2, 3)
        assert set(np.unique(each.returns)) <= {0.0, 1.0}
    assert both[1].returns.mean() == pytest.approx(tasks.vector.max(1).mean(), abs=0.15)
    every = [agent, *both]
    text = printed(comparison_table(every))
    assert "policy)" in text
    assert "20 tasks, not trained" in text
    pairs = {(row["ahead"], row["behind"]) for row in separation_rows(every)}
    assert all("rl2" in pair for pair in pairs)
    assert [row["episodes"] for row in separation_rows([agent, both[0]])] == [0, 1, 2, 3, "trial"]
    rows = list(csv.DictReader(io.StringIO(comparison_csv(every))))
    assert [row["episodes"] for row in rows] == ["0", "1", "2", "3", "trial"] * 3
    assert [row["reference"] for row in rows[::5]] == ["0", "1", "1"]
    assert [row["seeds"] for row in rows[::5]] == ["3", "", ""]
    assert float(rows[4]["return"]) == pytest.approx(4 * 0.6)
    figure = comparison_figure(every)
    styles = {each.get_label(): each.get_linestyle() for each in figure.axes[0].lines}
    assert styles["rl2"] == "-"
    assert styles["greedy (reference policy)"] == "--"
    assert figure.axes[0].get_title(loc="left") == "3 seeds × 20 tasks, 95% intervals"


def test_players_plan_for_as_many_episodes_as_the_agents_had(
    agent: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    family, lengths = make_family(BANDIT, "k5"), []
    reference_policies = type(family).reference_policies

    def noted(self: Any) -> Any:
        lengths.append(self.episodes_per_trial)
        return reference_policies(self)

    monkeypatch.setattr(type(family), "reference_policies", noted)
    reference_evaluations(["gittins"], [agent], family, family.splits.test[:20])
    assert lengths[-1] == 4
    assert family.episodes_per_trial == 100


def test_players_are_scored_after_as_many_episodes_as_agents_that_have_lanes(agent: Evaluation) -> None:
    family = make_family(BANDIT, "k5")
    n_envs = Evaluation(**{**vars_of(agent), "episodes": (0, 20, 40, 60), "trial": False})
    (greedy,) = reference_evaluations(["greedy"], [n_envs], family, family.splits.test[:20])
    assert greedy.episodes == greedy.adaptations == (0, 20, 40, 60)
    assert not greedy.trial
    assert greedy.returns.shape == (1, 4, 20)


def test_unknown_players_are_refused_with_those_that_there_are(agent: Evaluation) -> None:
    family = make_family(BANDIT, "k5")
    with pytest.raises(MetaRLError, match=r"no reference policy 'oracle'; it has random, greedy,.* best arm"):
        reference_evaluations(["greedy", "oracle"], [agent], family, family.splits.test[:20])


def test_references_of_very_many_tasks_are_played_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    family = make_family(BANDIT, "k5")
    tasks = family.splits.test[:50]
    whole = reference_returns(family, "random", tasks, episodes=(0, 3, 4))
    monkeypatch.setattr(driver, "CHUNK", 20)
    np.testing.assert_array_equal(reference_returns(family, "random", tasks, episodes=(0, 3, 4)), whole)
    assert whole is not None
    assert whole.shape == (3, 50)
    assert not np.array_equal(whole[0], whole[1])
    assert not np.array_equal(whole[:, :20], whole[:, 20:40])
    assert reference_returns(family, None, tasks, episodes=(0,)) is None


# --- a run ---


def test_a_run_saves_beliefs_probe_and_picture(run: Run) -> None:
    outcome = evaluate_run(run, n_tasks=40, points=6)
    assert outcome.evaluation.trial
    assert outcome.beliefs is not None
    assert outcome.beliefs.values.shape == (2, 7, 40, 5)
    assert outcome.beliefs.names[:2] == ("p[0]", "p[1]")
    assert outcome.evaluation.extra["probe R² episode 6"] > 0
    files = {path.name for path in (*save_outcome(run, outcome), *save_outcome_figures(run, outcome))}
    stems = ("evaluation-test.json", "evaluation-test.csv", "curve-test.png")
    assert files == {*stems, "beliefs-test.npz", "probe-test.csv", "belief-test.png"}
    assert all((run.path / name).stat().st_size for name in files)
    few = evaluate_run(run, n_tasks=3, points=2)  # too few for a probe
    assert few.probe is None
    assert "belief-test.png" not in {path.name for path in save_outcome_figures(run, few)}


def test_a_wiped_memory_is_another_agent_with_files_of_its_own(run: Run) -> None:
    ordinary = evaluate_run(run, n_tasks=50)
    save_outcome(run, ordinary)
    wiped = evaluate_run(run, n_tasks=50, ablation="wiped", deterministic=False)
    assert wiped.evaluation.agent == "remembering-wiped"
    assert wiped.evaluation.returns_deterministic is None
    assert wiped.evaluation.returns[:, 10:].mean() < ordinary.evaluation.returns[:, 10:].mean() - 0.1
    files = {path.name for path in (*save_outcome(run, wiped), *save_outcome_figures(run, wiped))}
    assert files == {"evaluation-test-wiped.json", "evaluation-test-wiped.csv", "curve-test-wiped.png"}
    assert Evaluation.load(run.path / "evaluation-test.json").agent == "remembering"


def test_the_agent_itself_is_asked_for_its_points(run: Run) -> None:
    whole = saved_or_new_outcome(run)[0]
    assert len(whole.episodes) == 20
    written = (run.path / "evaluation-test.json").stat().st_mtime_ns
    saved_or_new_outcome(run)
    assert (run.path / "evaluation-test.json").stat().st_mtime_ns == written


def test_commands(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    main(["evaluate", str(run.path), "--no-deterministic", "--json"])
    content = json.loads(capsys.readouterr().out)
    assert content["curve"][0]["return_deterministic"] is None
    assert content["trial"]["episodes"] == 20
    main(["evaluate", str(run.path), "--tasks", "20", "--ablation", "wiped", "--json"])
    assert json.loads(capsys.readouterr().out)["agent"] == "remembering-wiped"
    main(["compare", str(run.path), "--reference-policies", "greedy", "best arm", "--json"])
    agents = [each["agent"] for each in json.loads(capsys.readouterr().out)["evaluations"]]
    assert agents == ["remembering", "greedy (reference policy)", "best arm (reference policy)"]
    assert (tmp_path / "comparison.png").exists()
    assert len((tmp_path / "comparison.csv").read_text().splitlines()) == 1 + 3 * 21
    with pytest.raises(SystemExit):
        main(["compare", str(run.path), "--reference-policies", "nobody"])
    said = capsys.readouterr().err
    assert "no reference policy 'nobody'; it has random, greedy" in said


def test_publishing_a_trial(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    publish = runpy.run_path(str(ROOT / "scripts" / "publish.py"))["main"]
    assert publish(run.path, tmp_path / "results", tasks=30, points=10, deterministic=False) == 0
    assert publish(run.path, tmp_path / "results", tasks=30, deterministic=False, ablation="wiped") == 0
    folder = tmp_path / "results" / "remembering" / "BernoulliBandit-k5"
    content = json.loads((folder / "summary.json").read_text())
    assert content["trial"]["episodes"] == 10
    assert {"belief.png", "probe.csv", "learning.png"} <= {path.name for path in folder.iterdir()}
    rows = list(csv.DictReader((folder / "learning.csv").read_text().splitlines()))
    assert list(rows[0]) == ["seed", "steps", *(f"rollout/return_{name}" for name in ("first", "last", "trial"))]
    wiped = tmp_path / "results" / "remembering-wiped" / "BernoulliBandit-k5"
    assert json.loads((wiped / "summary.json").read_text())["agent"] == "remembering-wiped"
    assert write_results_readme(tmp_path / "results")
    assert "belief.png" in (tmp_path / "results" / "README.md").read_text()
