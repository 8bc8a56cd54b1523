"""From files to predictions by ``metarl fewshot predict``."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metarl.cli.main import main

pytestmark = [
    pytest.mark.filterwarnings("default:.*rows are left out"),
    pytest.mark.filterwarnings("default:.*no training episodes"),
]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METARL_CACHE", str(tmp_path / "cache"))


def _write(path: Path, rows: list[list[str]]) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(path)


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


_FEW = [
    ["sentence", "intent"],
    ["will it rain today", "weather"],
    ["is it going to rain in paris", "weather"],
    ["play some jazz music", "music"],
    ["play my favourite music", "music"],
]
_MANY = [["sentence"], ["rain today"], [""], ["play music"], ["zzz qqq xxyy"]]


def _sentences(tmp_path: Path, *more: str, few: list[list[str]] = _FEW) -> list[str]:
    files = _write(tmp_path / "few.csv", few), _write(tmp_path / "many.csv", _MANY)
    given = ["--support", files[0], "--query", files[1], "--output", str(tmp_path / "out.csv"), "--text", "sentence"]
    return ["fewshot", "predict", "ridge", *given, "--label", "intent", "--encoder", "ngrams", *more]


def test_sentences_get_labels_probabilities_and_what_decided(tmp_path: Path, recwarn):
    main(_sentences(tmp_path))

    rows = _read(tmp_path / "out.csv")
    assert [row["line"] for row in rows] == ["2", "4", "5"]
    assert [row["likeliest"] for row in rows[:2]] == ["weather", "music"]
    assert rows[0]["decided_by"].startswith("will it rain today")
    assert rows[0]["decided_lines"].split()[0] == "2"
    assert float(rows[0]["p(weather)"]) + float(rows[0]["p(music)"]) == pytest.approx(1)
    assert float(rows[0]["probability"]) == float(rows[0]["p(weather)"])
    assert rows[2]["label"] == "none of these"
    assert any("empty sentence in line 3" in str(each.message) for each in recwarn)


@pytest.mark.parametrize(
    ("more", "few", "said"),
    [
        ([], [["sentence", "intent"], ["rain", "weather"], ["sun", "weather"]], "one label, 'weather'"),
        ([], [["words", "intent"], ["rain", "weather"], ["play", "music"]], "no column 'sentence'"),
        (["--output", "nowhere/out.csv"], _FEW, "There is no folder nowhere"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, capsys, more, few, said):
    with pytest.raises(SystemExit) as ended:
        main(_sentences(tmp_path, *more, few=few))

    printed = capsys.readouterr().err
    assert ended.value.code == 2
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("name", ["no-such-learner", "prototypical"])
def test_a_learner_that_is_of_no_use_untrained_is_refused(tmp_path: Path, capsys, name: str):
    arguments = _sentences(tmp_path)
    arguments[2] = name

    with pytest.raises(SystemExit):
        main(arguments)

    assert ("neither a run folder" if name == "no-such-learner" else "has to be trained") in capsys.readouterr().err


def test_numbers_are_predicted_with_their_deviation(tmp_path: Path):
    few = _write(tmp_path / "few.csv", [["a", "b", "y"], *[[str(i), str(-i), str(2 * i)] for i in range(12)]])
    many = _write(tmp_path / "many.csv", [["b", "a"], ["-4", "4"], ["-7", "7"]])
    output = tmp_path / "out.csv"

    files = ["--support", few, "--query", many, "--output", str(output)]
    main(["fewshot", "predict", "gp-regression", *files, "--label", "y"])

    rows = _read(output)
    np.testing.assert_allclose([float(row["label"]) for row in rows], [8, 14], atol=1.5)
    assert all(float(row["std"]) > 0 for row in rows)


def test_a_run_predicts_pictures_by_its_training_tasks(tmp_path: Path):
    generator = np.random.default_rng(0)
    for part, classes in {"data": range(8), "few": range(8, 11), "many": range(8, 11)}.items():
        for label in classes:
            for i in range(6 if part == "data" else 3):
                folder = tmp_path / part / str(label)
                folder.mkdir(parents=True, exist_ok=True)
                colour = np.array([25 * label % 256, 60 * label % 256, 200 - 15 * label], np.int64)
                pixels = colour + generator.integers(-9, 9, (16, 16, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{part}{i}.png")
    run = ["--name", "run", "--runs", str(tmp_path), "--iterations", "2", "--quiet"]
    main(["fewshot", "train", "prototypical", "--data", str(tmp_path / "data"), *run])
    folders = ["--support", str(tmp_path / "few"), "--query", str(tmp_path / "many")]

    main(["fewshot", "predict", str(tmp_path / "run"), *folders, "--output", str(tmp_path / "out.csv")])

    rows = _read(tmp_path / "out.csv")
    right = [Path(row["item"]).parent.name == row["likeliest"] for row in rows]
    assert len(rows) == 9
    assert sum(right) >= 6
    assert all(Path(row["decided_by"].split(" | ")[0]).parent.name == row["likeliest"] for row in rows)


def test_a_run_is_measured_by_shots_and_for_trust(tmp_path: Path, capsys):
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(20, 5))
    rows = [[*map(str, centres[i] + 0.3 * generator.normal(size=5)), f"c{i}"] for i in range(20) for _ in range(12)]
    data = _write(tmp_path / "data.csv", [[*"abcde", "y"], *rows])
    run = ["--name", "run", "--runs", str(tmp_path), "--iterations", "2", "--quiet"]
    main(["fewshot", "train", "feature-map", "--data", data, "--label", "y", *run])
    scoring = [str(tmp_path / "run"), "--way", "2", "--queries", "4", "--episodes", "20", "--quiet"]

    main(["fewshot", "evaluate", *scoring, "--shots", "1", "4"])
    main(["fewshot", "trust", *scoring])

    said = " ".join(capsys.readouterr().out.split())
    assert [row["figure"] for row in _read(tmp_path / "run" / "shots-test-2w.csv")] == ["2w1s", "2w4s"]
    assert (tmp_path / "run" / "shots-test-2w.png").exists()
    assert (tmp_path / "run" / "trust-test-2w1s.png").exists()
    assert "temperature" in said
    assert "nearest mean" in said
