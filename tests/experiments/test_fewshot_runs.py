"""Runs of few-shot learners from the command line: trained, resumed, scored, compared and published."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metarl.cli.fewshot import FewShotEvaluate
from metarl.cli.main import main
from metarl.core.checked_json import seal, unseal
from metarl.core.checkpoint import load_checkpoint
from metarl.core.errors import MetaRLError
from metarl.evaluation.fewshot import FewShotEvaluation, evaluate_fewshot_run, setting_of
from metarl.evaluation.fewshot_saved import saved_or_new_evaluation
from metarl.experiments.fewshot_run import FewShotRun
from metarl.experiments.options import TrainingOptions
from metarl.experiments.run_folder import UnfinishedRun
from metarl.fewshot import scoring
from metarl.fewshot.data.episodes import EpisodeSpec
from metarl.fewshot.data.registry import make_dataset
from metarl.fewshot.learners.registry import preset_config
from metarl.fewshot.model import FewShot
from metarl.plotting.curves import learning_figure
from metarl.plotting.fewshot import run_figures
from results.files import check_result, load_results
from results.publishing import write_fewshot_result
from results.report import learners_table, results_table

SMALL = [
    *("--config.episode.way", "5", "--config.episode.queries", "3", "--config.width", "8", "--config.strided"),
    *("--config.iterations", "6", "--config.tasks", "2"),
]


def fewshot(*arguments: Any) -> None:
    main(["fewshot", *map(str, arguments)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run of each kind."""
    folder = tmp_path_factory.mktemp("runs")
    fewshot("train", "prototypical", *SMALL, "--runs", folder, "--seed", 0, 1, "--jobs", 1)
    fewshot("train", "maml", *SMALL, "--runs", folder, "--config.test-steps", 2)
    sinusoid = ("--data", "sinusoid", "--preset", "sinusoid", "--config.iterations", 4)
    fewshot("train", "maml", *sinusoid, "--runs", folder)
    fewshot("train", "neural-process", "--data", "sinusoid", "--config.iterations", 4, "--runs", folder)
    return folder


def test_a_run_says_how_it_was_made_and_logs_what_it_learned(runs: Path) -> None:
    assert {each.name for each in runs.iterdir()} == {
        *("prototypical-strokes", "maml-strokes", "maml-sinusoid-sinusoid", "neural-process-sinusoid"),
    }
    run = FewShotRun.open(runs / "prototypical-strokes")
    assert run.seeds == (0, 1)
    assert run.command.startswith("metarl fewshot train prototypical --config.episode.way 5")
    with (run.seed_folder(1) / "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["time/total_timesteps"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {"train/loss", "train/accuracy", "time/seconds"} <= set(rows[0])
    assert list(run.seed_folder(1).glob("events.out.tfevents.*"))
    assert run.trained(0).wall_seconds > 0


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(runs: Path, tmp_path: Path) -> None:
    whole = FewShotRun.open(runs / "maml-strokes")
    again = FewShotRun.create(tmp_path / "run", "maml", whole.config, "strokes", (0,))

    class Stop(Exception):
        pass

    def report(_: int, done: int, __: str) -> None:
        if done == 4:
            raise Stop

    with pytest.raises(Stop):
        again.train_seed(0, report, TrainingOptions(seconds=0))
    assert load_checkpoint(again.checkpoint(0))[1]["fewshot"]["iteration"] == 3
    resumed = FewShotRun.create(tmp_path / "run", "maml", whole.config, "strokes", (0,), resume=True)
    resumed.train_seed(0, lambda *_: None, TrainingOptions(seconds=0))
    one, other = whole.trained(0), resumed.trained(0)
    for name, value in one.params.items():
        assert torch.equal(value, other.params[name]), name
    logs = [(run.seed_folder(0) / "progress.csv").read_text().splitlines() for run in (whole, resumed)]
    losses = [[row["train/loss"] for row in csv.DictReader(log)] for log in logs]
    assert losses[0] == losses[1]


def test_scores_are_of_unseen_classes_and_are_saved(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fewshot("evaluate", runs / "prototypical-strokes", "--episodes", 30, "--queries", 5)
    said = capsys.readouterr().out
    assert max(map(len, said.split("Saved")[0].splitlines())) <= 80
    assert "The scores are of 2 × 30 seeds × episodes of the test split of strokes, inductive." in " ".join(
        said.split()
    )
    where = runs / "prototypical-strokes" / "evaluation-test-5w1s.json"
    made = FewShotEvaluation.load(where)
    assert made.values.shape == (2, 1, 30)
    assert made.learner == "prototypical-custom"
    assert made.mark == "inductive"
    score = made.figures["5w1s"]
    assert 20 < score.bootstrap.low < score.value < score.bootstrap.high < 100  # percent
    assert made.adapt_seconds > 0
    # One 28 × 28 sample of each of 5 classes through convolutions of 8 channels: some tens of kilobytes.
    assert 10_000 < made.adapt_bytes < 10_000_000
    for name in ("episode", "embedding"):
        assert where.with_name(f"{where.stem}-{name}.png").read_bytes().startswith(b"\x89PNG")
    fewshot("evaluate", runs / "maml-strokes", "--episodes", 20, "--queries", 5, "--json")
    (row,) = json.loads(capsys.readouterr().out)
    assert row["figure"] == "5w1s"
    made = FewShotEvaluation.load(runs / "maml-strokes" / "evaluation-test-5w1s.json")
    assert made.adaptations == (0, 1, 2)
    model = FewShotRun.open(runs / "maml-strokes").trained(0)
    part = FewShotRun.open(runs / "maml-strokes").dataset().split("test")
    np.testing.assert_allclose(made.values[0, -1], 100 * model.evaluate(part, EpisodeSpec(5, 1, 5), 20))


@pytest.mark.parametrize("transductive", [False, True])
def test_the_episode_that_is_drawn_is_the_first_that_was_scored(
    transductive: bool, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FewShotRun.open(runs / "prototypical-strokes")
    made = evaluate_fewshot_run(run, EpisodeSpec(5, 1, 5), 30, transductive=transductive)
    said: list[str] = []
    real = run_figures.episode_figure
    monkeypatch.setattr(run_figures, "episode_figure", lambda *a, **k: (said.append(k["subtitle"]), real(*a, **k))[1])
    run_figures.fewshot_figures(run, made)
    assert said == [f"{made.values[0, -1, 0]:.0f}% of this episode's queries right"]


def test_a_run_that_is_not_finished_is_scored_with_a_warning(runs: Path, tmp_path: Path) -> None:
    run = FewShotRun.create(tmp_path / "run", "maml", FewShotRun.open(runs / "maml-strokes").config, "strokes", (0,))
    run.new_model(0).fit(run.dataset(), iterations=2).save(made_folder(run.checkpoint(0)))
    for _ in range(2):  # scored, and then what was saved
        with pytest.warns(UnfinishedRun, match=r"Seed 0 of .*run has 2 of its 6 iterations; --resume"):
            saved_or_new_evaluation(run, EpisodeSpec(5, 1, 2), 5, "test", "cpu", transductive=False)


def made_folder(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    return path


def test_a_finished_run_that_is_resumed_keeps_its_evaluations(runs: Path) -> None:
    run = FewShotRun.open(runs / "maml-strokes")
    before = run.checkpoint(0).stat().st_mtime_ns
    run.train_seed(0, lambda *_: None, TrainingOptions())
    assert run.checkpoint(0).stat().st_mtime_ns == before


@pytest.mark.parametrize("wrong", [{"way": 0}, {"shot": 0}, {"queries": 0}], ids=str)
def test_a_setting_of_nothing_is_refused_and_not_replaced(wrong: Any, runs: Path) -> None:
    options = FewShotEvaluate(path=runs / "maml-strokes", **wrong)
    classes, functions, tasks = (make_dataset(name).split("test") for name in ("strokes", "sinusoid", "tables"))
    for source in (classes, functions, tasks):
        with pytest.raises(MetaRLError):
            options.spec(source)
    assert FewShotEvaluate(path=runs, queries=15).spec(functions) == EpisodeSpec(1, 10, 15)
    assert FewShotEvaluate(path=runs).spec(functions) == EpisodeSpec(1, 10, 100)
    assert FewShotEvaluate(path=runs).spec(classes) == EpisodeSpec(5, 1, 15)
    assert FewShotEvaluate(path=runs, support=64).spec(tasks) == EpisodeSpec(2, 1, 256, support=64)
    assert FewShotEvaluate(path=runs, shot=3).spec(tasks) == EpisodeSpec(2, 3, 256)


def test_functions_are_scored_by_their_error_at_every_step(runs: Path) -> None:
    for name in ("maml-sinusoid-sinusoid", "neural-process-sinusoid"):
        fewshot("evaluate", runs / name, "--episodes", 20)
    made = FewShotEvaluation.load(runs / "maml-sinusoid-sinusoid" / "evaluation-test-10-shot.json")
    assert made.adaptations == tuple(range(11))
    assert made.figures["mse 10-shot step 5"].value == pytest.approx(made.values[0, 5].mean())
    assert made.figures["median mse 10-shot step 5"].value == pytest.approx(np.median(made.values[0, 5]))
    made = FewShotEvaluation.load(runs / "neural-process-sinusoid" / "evaluation-test-10-shot.json")
    assert set(made.figures) == {"mse 10-shot", "median mse 10-shot"}
    assert (runs / "neural-process-sinusoid" / "evaluation-test-10-shot-function.png").exists()


def test_of_many_steps_only_some_are_scored(runs: Path) -> None:
    model = FewShotRun.open(runs / "maml-sinusoid-sinusoid").trained(0)
    many = FewShot("maml", model.spec, replace(model.config, test_steps=23))
    scores = many.score(make_dataset("sinusoid").split("test"), EpisodeSpec(1, 10, 10), 4)
    assert scores.adaptations == (*range(11), 20, 23)
    assert scores.values.shape == (13, 4)


def test_runs_are_compared_on_the_same_episodes(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [runs / "prototypical-strokes", runs / "maml-strokes"]
    fewshot("compare", *both, "--episodes", 10, "--queries", 5, "--output", tmp_path / "c.png")
    assert "maml-custom" in capsys.readouterr().out
    assert (tmp_path / "c.png").exists()
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["learner"] for row in rows} == {"maml-custom", "prototypical-custom"}
    assert float(rows[0]["value"]) >= float(rows[1]["value"])

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("scored again")

    monkeypatch.setattr(scoring, "measured", refuse)
    fewshot("compare", *both, "--episodes", 10, "--queries", 5, "--output", tmp_path / "c.png", "--json")  # as saved
    with pytest.raises(SystemExit):
        fewshot("compare", runs / "maml-strokes", runs / "maml-sinusoid-sinusoid")
    assert "different data sets" in capsys.readouterr().err


@pytest.mark.filterwarnings("default:digits")
def test_a_run_is_scored_on_another_data_set_whose_name_everything_bears(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setting = ["--episodes", 10, "--queries", 5]
    fewshot("evaluate", runs / "maml-strokes", "--data", "digits", "strokes", *setting, "--output", tmp_path, "--json")
    rows = json.loads(capsys.readouterr().out)
    assert {(row["learner"], row["trained_on"], row["dataset"]) for row in rows} == {
        ("maml-custom trained on strokes", "strokes", "digits"),
        ("maml-custom", "strokes", "strokes"),
    }
    found = FewShotEvaluation.load(tmp_path / "evaluation-test-5w1s-on-digits.json")
    assert (found.dataset, found.trained_on, found.other) == ("digits", "strokes", "digits")
    assert (tmp_path / "evaluation-test-5w1s-on-digits-episode.png").exists()
    assert FewShotEvaluation.load(tmp_path / "evaluation-test-5w1s.json").other == ""
    both = [runs / "prototypical-strokes", runs / "maml-strokes"]
    where = ["--data", "digits", "strokes", "--output", tmp_path / "c.png"]
    fewshot("compare", *both, *where, *setting, "--baselines", "nearest-mean")
    printed = " ".join(capsys.readouterr().out.split())
    assert "Differences are paired by episode" in printed
    assert "against nearest-mean: better in" in printed
    with (tmp_path / "c.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["dataset"] for row in table] == ["digits"] * 3 + ["strokes"] * 3
    for row in table:
        sure = float(row["difference_low"]) > 0 or float(row["difference_high"]) < 0
        assert bool(row["verdict"]) == (sure and row["learner"] != "nearest-mean")
    fewshot("evaluate", runs / "prototypical-strokes", "--data", "digits", *setting, "--normalise-target", "--json")
    assert json.loads(capsys.readouterr().out)[0]["mark"] == "inductive, normalised by unlabelled target samples"
    assert (runs / "prototypical-strokes" / "evaluation-test-5w1s-normalised-on-digits.json").exists()
    for words, said in [
        (
            ["--data", "digits", "--way", 12],
            "The test split of digits has 10 classes, fewer than the 12 ways asked for",
        ),
        (["--data", "sinusoid"], "sinusoid has numbers to predict"),
        (["--data", "digit"], "Did you mean"),
    ]:
        with pytest.raises(SystemExit):
            fewshot("evaluate", runs / "prototypical-strokes", *words)
        assert said in capsys.readouterr().err
    with pytest.raises(SystemExit):
        fewshot("trust", runs / "prototypical-strokes", "--data", "digits")
    assert "is of a run's own data set" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        fewshot("compare", runs / "prototypical-strokes", "--data", "digits", "strokes")
    assert "One run on several data sets has nothing to be compared with" in capsys.readouterr().err


def test_unlabelled_samples_and_queries_refine_prototypes(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = FewShotRun.open(runs / "prototypical-strokes")
    plain = evaluate_fewshot_run(run, EpisodeSpec(5, 1, 5), 200).at(1).value
    helped = evaluate_fewshot_run(run, EpisodeSpec(5, 1, 5, unlabelled=10), 200).at(1).value
    together = evaluate_fewshot_run(run, EpisodeSpec(5, 1, 5), 200, transductive=True)
    assert helped > plain
    assert together.at(1).value > plain
    assert together.mark == "transductive"
    with pytest.raises(SystemExit):
        fewshot("evaluate", runs / "maml-strokes", "--transductive")
    assert "FewShotMAML has no 'refine'" in capsys.readouterr().err


def test_a_result_holds_what_was_measured(runs: Path, tmp_path: Path) -> None:
    run = FewShotRun.open(runs / "maml-strokes")
    made = evaluate_fewshot_run(run, setting_of("5w1s", functions=False), 20)
    facts = {"command": "metarl ...", "machine": "one", "tuned_on": "val"}
    targets = [{"name": "5w1s", "target": "> 100", "basis": "all of them", "published": 98.7}]
    folder = write_fewshot_result(tmp_path, run, [made], targets, **facts)
    assert folder == tmp_path / "fewshot" / "maml-custom" / "strokes"
    (result,) = load_results(tmp_path)
    assert result.summary["steps"] == 12
    assert result.summary["figures"][0]["label"] == "below"
    shown = learners_table([result])
    assert "maml-custom | strokes | 5w1s" in shown
    assert "inductive" in shown
    assert results_table([result]) == "No results yet.\n"
    table = (folder / "curve.csv").read_text()
    lines = table.splitlines()
    cells = lines[-1].split(",")
    cells[4] = str(float(cells[4]) + 1)
    (folder / "curve.csv").write_text("\n".join([*lines[:-1], ",".join(cells)]) + "\n")
    with pytest.raises(MetaRLError, match=r"the summary says 5w1s .*, curve\.csv"):
        check_result(folder, tmp_path)
    (folder / "curve.csv").write_text(table)
    shutil.move(tmp_path / "fewshot" / "maml-custom", tmp_path / "maml-custom")
    with pytest.raises(MetaRLError, match="belongs below fewshot/"):
        load_results(tmp_path)
    with pytest.raises(MetaRLError, match="evaluate that setting too"):
        write_fewshot_result(tmp_path, run, [made], [{"name": "20w1s"}], **facts)


@pytest.mark.parametrize("name", ["prototypical-strokes", "maml-sinusoid-sinusoid"])
def test_a_published_result_is_scored_again_to_the_same_numbers(
    name: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = FewShotRun.open(runs / name)
    functions = "sinusoid" in name
    figure, shape = ("mse 10-shot step 5", EpisodeSpec(1, 10, 20)) if functions else ("5w1s", EpisodeSpec(5, 1, 5))
    facts = {"command": "metarl fewshot train x", "machine": "one", "tuned_on": "val"}
    folder = write_fewshot_result(tmp_path, run, [evaluate_fewshot_run(run, shape, 20)], [{"name": figure}], **facts)
    check_result(folder, tmp_path)
    before = sorted(folder.iterdir())
    assert [each.name for each in before if each.suffix == ".safetensors"] == [
        f"weights-{seed}.safetensors" for seed in run.seeds
    ]
    setting = ["--episodes", 20, "--queries", shape.queries]
    fewshot("evaluate", folder, *setting, "--json")
    found = {row["figure"]: row["value"] for row in json.loads(capsys.readouterr().out)}
    (said,) = json.loads((folder / "summary.json").read_text())["figures"]
    assert (said["name"], said["label"]) == (figure, None)
    assert found[figure] == said["value"]
    fewshot("compare", folder, run.path, *setting, "--output", tmp_path / "c.png")
    assert sorted(folder.iterdir()) == before
    fewshot("evaluate", folder, *setting, "--output", tmp_path / "scores")
    assert list((tmp_path / "scores").glob("evaluation-test-*.csv"))
    assert sorted(folder.iterdir()) == before
    (folder / "weights-0.safetensors").unlink()
    if len(run.seeds) > 1:
        with pytest.raises(MetaRLError, match="its weights are of seeds"):
            check_result(folder, tmp_path)
    else:
        with pytest.raises(SystemExit):
            fewshot("evaluate", folder)
        assert "keeps no weights; train it again to score it: metarl fewshot train x" in capsys.readouterr().err


@pytest.mark.parametrize("learner", ["finetune-linear", "finetune-cosine", "finetune-whole"])
def test_the_head_of_all_training_classes_is_no_part_of_the_weights(learner: str, tmp_path: Path) -> None:
    dataset, path = make_dataset("strokes"), tmp_path / "weights-0.safetensors"
    config = preset_config(learner)
    model = FewShot(learner, dataset, replace(config, width=8, steps=3), seed=0)
    generator = torch.Generator().manual_seed(1)
    model.params = {
        name: value + 0.1 * torch.randn(value.shape, generator=generator) for name, value in model.params.items()
    }
    model.save_weights(path)
    assert not [name for name in load_checkpoint(path)[0] if "head" in name or not name.startswith("params.")]
    scores = [each.evaluate(dataset.split("test"), EpisodeSpec(5, 1, 5), 20) for each in (model, FewShot.load(path))]
    np.testing.assert_array_equal(*scores)


def test_pictures_of_steps_have_a_point_for_each(runs: Path) -> None:
    made = evaluate_fewshot_run(FewShotRun.open(runs / "maml-strokes"), EpisodeSpec(5, 1, 5), 20)
    line = run_figures.steps_figure(made).axes[0].lines[0]
    np.testing.assert_allclose(line.get_xydata()[:, 1], made.values[0].mean(1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: metarl fewshot"),
        (["teach"], "no command 'metarl fewshot teach'; choose one of train, evaluate, compare"),
        (["train"], "Missing from metarl fewshot train: LEARNER"),
        (["train", "resnet"], "Few-shot learner 'resnet' is unknown. Known are alpaca, anil, columns"),
        (
            ["train", "maml", "--preset", "best"],
            "Learner 'maml' has no preset 'best'; choose one of default, short, sinusoid",
        ),
        (["train", "maml", "--data", "sinusoid"], "a function has no classes; ask for way 1"),
        (["train", "prototypical", "--data", "sinusoid"], "prototypical tells classes apart; for numbers take"),
        (["train", "neural-process"], "neural-process predicts numbers"),
        (["train", "maml", "--config.episode.way", "500"], "500-way episodes"),
        (["train", "maml", "--seed", "1", "1"], "each once"),
        (["train", "maml", "--device", "tpu"], "Device 'tpu'"),
        (["evaluate", "nowhere"], "nowhere is no run of a few-shot learner"),
        (["compare"], "Name the run folders"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--runs", str(tmp_path / "runs")] if arguments[:1] == ["train"] and len(arguments) > 1 else []
    if not arguments:
        with pytest.raises(SystemExit, match="0"):
            fewshot()
        assert message in capsys.readouterr().out
        return
    with pytest.raises(SystemExit) as stopped:
        fewshot(*arguments, *more)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_folder_is_taken_by_one_run(runs: Path, tmp_path: Path) -> None:
    run = FewShotRun.open(runs / "maml-strokes")
    with pytest.raises(MetaRLError, match="is there already; continue it with --resume"):
        FewShotRun.create(run.path, run.learner, run.config, "strokes", (0,))
    with pytest.raises(MetaRLError, match="was made with dataset_name strokes, not omniglot"):
        FewShotRun.create(run.path, run.learner, run.config, "omniglot", (0,), resume=True)
    with pytest.raises(MetaRLError, match=r"choose --split test or --split val"):
        evaluate_fewshot_run(run, EpisodeSpec(), split="train")
    made = FewShotRun.create(tmp_path / "b", "maml", preset_config("maml"), "strokes", (0,))
    (made.path / "fewshot.json").write_text("{")
    with pytest.raises(MetaRLError, match="is damaged"):
        FewShotRun.open(made.path)
    with pytest.raises(MetaRLError, match="has no checkpoint of seed 0"):
        FewShotRun(tmp_path / "b", "maml", preset_config("maml"), "strokes", (0,), "").trained(0)


def test_a_run_is_resumed_with_the_config_it_was_made_with(tmp_path: Path) -> None:
    config = preset_config("maml")
    made = FewShotRun.create(tmp_path / "run", "maml", config, "strokes", (0,))
    assert FewShotRun.create(made.path, "maml", config, "strokes", (0,), resume=True) == made
    with pytest.raises(MetaRLError, match="was made with config"):
        FewShotRun.create(made.path, "maml", replace(config, step_size=0.5), "strokes", (0,), resume=True)
    with pytest.raises(MetaRLError, match="was made with learner maml, not fomaml"):
        FewShotRun.create(made.path, "fomaml", config, "strokes", (0,), resume=True)
    about = json.loads(unseal((made.path / "fewshot.json").read_text(), ""))
    (made.path / "fewshot.json").write_text(seal(json.dumps({"source": about.pop("dataset"), "config": {}})))
    with pytest.raises(MetaRLError, match="of an older version of metarl; train anew"):
        FewShotRun.open(made.path)


def test_a_training_that_diverges_says_so() -> None:
    dataset = make_dataset("sinusoid")
    config = preset_config("maml", "sinusoid")
    model = FewShot("maml", dataset, config)
    model.params = {name: value * float("nan") for name, value in model.params.items()}
    with pytest.raises(MetaRLError, match="Training diverged in iteration 0: the loss is nan"):
        model.fit(dataset, iterations=1)


def test_the_curve_of_a_training_says_what_it_is_of(runs: Path) -> None:
    log = runs / "prototypical-strokes" / "seed-0" / "progress.csv"
    axes = learning_figure([log], steps="time/total_timesteps", returns=["train/accuracy"]).axes[0]
    assert [text.get_text() for text in axes.get_legend().texts] == ["training tasks"]
