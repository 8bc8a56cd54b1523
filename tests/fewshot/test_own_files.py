"""People's own files: from a path to tasks, and every bad row told by its line while the others are used."""

import functools
import operator
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from metarl.cli.main import main
from metarl.core.errors import MetaRLError
from metarl.experiments.fewshot_run import FewShotRun
from metarl.fewshot.data.dataset import split_by_chance
from metarl.fewshot.data.episodes import Classes, EpisodeSpec
from metarl.fewshot.data.groups import Groups
from metarl.fewshot.data.names import DataName
from metarl.fewshot.data.own.dataset import dataset_from_table
from metarl.fewshot.data.own.items import read_items
from metarl.fewshot.data.own.table import lines_of, read_table
from metarl.fewshot.data.registry import make_dataset
from metarl.fewshot.learners.registry import preset_config

WORDS = ("card", "pizza", "rain", "train", "music", "shoes", "tax", "dog")


def intents(folder: Path, extra: str = "", classes: int = 8, each: int = 6) -> Path:
    """A file of sentences of some intents, and further lines."""
    rows = [f"please {w} number {i},intent {w}" for i in range(each) for w in WORDS[:classes]]
    path = folder / "intents.csv"
    path.write_text("\n".join(["sentence,intent", *rows, extra]).rstrip("\n") + "\n")
    return path


def columns(rows: int = 60) -> dict[str, list[Any]]:
    """Users who rate films of two genres by a taste of their own."""
    random = np.random.default_rng(0)
    users = [f"user {i % 6}" for i in range(rows)]
    genres = random.choice(["drama", "war"], rows).tolist()
    years = random.integers(1950, 2020, rows).tolist()
    return {"user": users, "genre": genres, "year": years, "rating": random.integers(1, 10, rows).tolist()}


def test_sentences_become_vectors_by_intent(tmp_path: Path) -> None:
    path = intents(tmp_path)
    data = make_dataset(f"{path}?text=sentence&label=intent&encoder=ngrams")
    assert {split: len(source) for split, source in data.splits.items() if isinstance(source, Classes)} == {
        "train": 5,
        "test": 3,  # one to choose by would be no task
    }
    assert data.spec.encoder == "ngrams"
    assert data.spec.fitted
    assert data.spec == make_dataset(f"{path}?text=sentence&label=intent&encoder=ngrams").spec
    assert "0." not in repr(data.spec)  # what the encoder was fitted to is long
    assert data.name == f"{path}?text=sentence&label=intent&encoder=ngrams"


def test_a_split_is_the_same_for_the_same_classes_and_leaves_each_part_enough() -> None:
    names = [f"class {i}" for i in range(12)]
    parts = split_by_chance(names, 0, 2)
    assert parts == split_by_chance(names[::-1], 0, 2)
    assert parts != split_by_chance(names, 1, 2)
    assert sorted(functools.reduce(operator.iadd, parts.values(), [])) == sorted(names)
    assert {split: len(part) for split, part in parts.items()} == {"train": 7, "val": 2, "test": 3}
    for n in range(4, 30):
        found = split_by_chance([str(i) for i in range(n)], 0, 2)
        assert min(map(len, found.values())) >= 2, (n, found)
    with pytest.raises(MetaRLError, match=r"3 classes or tasks .* takes 4"):
        split_by_chance(names[:3], 0, 2)


def test_bad_rows_are_told_by_line_and_the_rest_is_used(tmp_path: Path) -> None:
    path = intents(tmp_path, "\n".join([",intent dog", '"two\nlines",intent dog', "no label,", "odd,lonely"]))
    content = path.read_bytes().replace(b"please card number 0", b"caf\xe9")
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="left out") as told:
        data = dataset_from_table(path, text="sentence", label="intent", encoder="ngrams")
    said = [str(each.message) for each in told]
    assert said[0] == (
        f"{path}: 3 of 52 rows are left out: no UTF-8 in line 2; empty sentence in line 50; no label in line 53."
    )
    assert said[1] == f"{path}: labels with one sample are left out: lonely in line 54."
    assert sum(len(source.samples) for source in data.splits.values() if isinstance(source, Classes)) == 48


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no row below a line of column names"),
        ("sentence,intent\n", "no row below a line of column names"),
        ("sentence,sentence\na,b\n", "names the column 'sentence' twice in line 1"),
        ("sentence,label\na,b\n", "no column 'intent'; it has 'sentence', 'label'"),
        ("sentence,intent\na,b,c\nd,e\nf\n", r"other than 2 cells in lines 2 and 4; quote cells"),
        ('sentence,intent\n"a,b\n', r"other than 2 cells in line 2|unexpected end"),
        ("sentence,intent\n,b\n ,c\n", "no row that can be used: empty sentence in lines 2 and 3"),
        ("sentence,intent\na,x\nb,x\nc,y\nd,y\n", "it has 2 classes or tasks .* takes 4"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises(MetaRLError, match=words) as told:
        dataset_from_table(path, text="sentence", label="intent", encoder="ngrams")
    assert "\n" not in str(told.value)
    assert str(path) in str(told.value)


def test_missing_files_and_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MetaRLError, match=r"There is no file .*none\.csv"):
        make_dataset(f"{tmp_path / 'none.csv'}?label=y")
    with pytest.raises(MetaRLError, match=r"There is no file .*none\.npz"):
        make_dataset(str(tmp_path / "none.npz"))
    with pytest.raises(MetaRLError, match="which column holds the labels"):
        make_dataset(f"{intents(tmp_path)}?text=sentence")
    with pytest.raises(MetaRLError, match=r"there is no option 'txt'.* Did you mean text"):
        make_dataset(f"{intents(tmp_path)}?txt=sentence")
    with pytest.raises(MetaRLError, match="give --text or --smiles, not both"):
        make_dataset(f"{intents(tmp_path)}?text=sentence&smiles=sentence&label=intent")
    with pytest.raises(MetaRLError, match="has no use for --size"):
        make_dataset(f"{intents(tmp_path)}?size=32&label=intent")
    with pytest.raises(MetaRLError, match="strokes has no use for --text"):
        make_dataset("strokes?text=sentence")
    with pytest.raises(MetaRLError, match="is no table"):
        dataset_from_table(7, label="y")


def test_a_name_keeps_its_options() -> None:
    for options in ({"text": "the sentence", "label": "a&b=c?", "task": "50%"}, {"size": "32", "grey": "true"}, {}):
        name = DataName("files/my file.csv", options)
        assert DataName.parsed(str(name)) == name


def test_separators_and_line_numbers(tmp_path: Path) -> None:
    for suffix, separator in ((".csv", ";"), (".tsv", "\t"), (".csv", ",")):
        path = tmp_path / f"table{suffix}"
        path.write_bytes(f"\ufeffa{separator}b\r\n\r\n1{separator}x\r\n".encode())
        table = read_table(path)
        assert table.columns == {"a": ["1"], "b": ["x"]}
        assert table.lines == [3]
    assert lines_of([4]) == "line 4"
    assert lines_of([4, 7, 9]) == "lines 4, 7 and 9"
    assert lines_of(list(range(1, 16))) == "lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 5 more"


def test_a_column_of_tasks_gives_numbers_or_classes() -> None:
    data = dataset_from_table(columns(), label="rating", task="user")
    train = data.split("train")
    assert isinstance(train, Groups)
    assert data.spec.outputs == 1
    assert data.spec.shape == (3,)  # two genres and a year
    assert {split: len(source) for split, source in data.splits.items() if isinstance(source, Groups)} == {
        "train": 4,
        "val": 1,
        "test": 1,
    }
    liked = {**columns(), "rating": ["yes" if each > 4 else "no" for each in columns()["rating"]]}
    train = dataset_from_table(liked, label="rating", task="user").split("train")
    assert isinstance(train, Groups)
    assert train.classes == ("no", "yes")
    with pytest.raises(MetaRLError, match=r"every label in rating is \['yes'\]"):
        dataset_from_table({**columns(), "rating": ["yes"] * 60}, label="rating", task="user")
    with pytest.raises(MetaRLError, match="give one label with --task"):
        dataset_from_table(columns(), label="rating,year", task="user")


def test_cells_without_a_value_and_tasks_of_one_class_are_told() -> None:
    table: dict[str, list[Any]] = {
        "x": [float("nan"), 2, None, *range(37)],
        "kind": ["a", "b", "a", *["b"] * 37],
        "group": [f"g{i // 8}" for i in range(40)],
        "y": ["yes"] * 8 + ["yes", "no"] * 15 + ["nan", "no"],
    }
    with pytest.warns(UserWarning, match="left out|count as") as told:
        data = dataset_from_table(table, label="y", task="group", name="t")
    said = [str(each.message) for each in told]
    assert said == [
        "table: cells without a value in lines 1 and 3 count as usual ones.",
        "table: 1 of 40 rows are left out: no label in line 39.",
        "table: tasks with one labelled row or one class are left out: g0.",
    ]
    assert sorted(name for source in data.splits.values() for name in source.names) == ["g1", "g2", "g3", "g4"]
    assert all(source.samples.isfinite().all() for source in data.splits.values() if isinstance(source, Groups))


def test_several_labels_are_a_task_each_and_missing_ones_are_not_there() -> None:
    random = np.random.default_rng(0)
    table: dict[str, list[Any]] = {"x": random.normal(size=30).tolist(), "z": random.normal(size=30).tolist()}
    for i in range(5):
        table[f"assay {i}"] = [None if j % 5 == i else int(x > 0) for j, x in enumerate(table["x"])]
    data = dataset_from_table(table, label=",".join(f"assay {i}" for i in range(5)))
    names = [name for source in data.splits.values() for name in source.names]
    assert sorted(names) == [f"assay {i}" for i in range(5)]
    for source in data.splits.values():
        assert isinstance(source, Groups)
        assert source.counts.tolist() == [24] * len(source)
        for task in source.tasks:  # the first column says it
            assert (
                source.samples[task.rows, 0][task.labels == 1].min()
                > source.samples[task.rows, 0][task.labels == 0].max()
            )


def test_a_column_of_splits_decides() -> None:
    table = {"x": list(range(24)), "y": [i % 4 for i in range(24)], "part": ["train", "train", "test", "test"] * 6}
    data = dataset_from_table(table, label="y", split="part")
    assert data.split("train").names == ("0", "1")
    assert data.split("test").names == ("2", "3")
    table["part"][0] = "test"
    with pytest.raises(MetaRLError, match=r"rows of label '0' are in split \['test', 'train'\]"):
        dataset_from_table(table, label="y", split="part")


def test_molecules_that_cannot_be_parsed_are_told_by_line(tmp_path: Path) -> None:
    pytest.importorskip("rdkit", reason="RDKit is in the extra chem")
    path = tmp_path / "compounds.csv"
    rows = [f"{'C' * (1 + i % 7)}O,{i % 5},{i % 2}" for i in range(40)]
    path.write_text("\n".join(["smiles,assay,active", *rows, "C1CC,0,1", ",1,1"]))
    with pytest.warns(UserWarning, match=r"cannot parse in line 42; empty smiles in line 43\.$"):
        data = make_dataset(f"{path}?smiles=smiles&label=active&task=assay")
    assert data.spec.shape == (2048,)
    assert data.spec.encoder == "morgan-counts"


def test_items_without_labels_are_read_for_prediction(tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    path.write_text("number,sentence\n1,please card\n2,\n3,pizza\n")
    with pytest.warns(UserWarning, match="empty sentence in line 3"):
        items = read_items(path, {"text": "sentence", "label": "intent", "task": "user"}, labelled=False)
    assert items.values == ["please card", "pizza"]
    assert items.lines == [2, 4]
    assert not items.labels


def test_parquet_is_read_as_a_table(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is in the extra parquet")
    from pyarrow import parquet

    path = tmp_path / "features.parquet"
    features = [[float(i % 6), 1.5 * i] for i in range(36)]
    parquet.write_table(pyarrow.table({"vector": features, "y": [i % 6 for i in range(36)]}), path)
    table = read_table(path)
    assert list(table.columns) == ["vector.0", "vector.1", "y"]
    assert table.columns["vector.1"][1] == "1.5"
    assert make_dataset(f"{path}?label=y").spec.shape == (2,)
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(MetaRLError, match="damaged or no Parquet"):
        read_table(path)


def test_arrays_of_features_are_used_as_they_are(tmp_path: Path) -> None:
    path, random = tmp_path / "features.npz", np.random.default_rng(0)
    X, y = random.normal(size=(60, 5)).astype(np.float32), np.arange(60) % 6
    X[3, 2] = np.nan
    np.savez(path, features=X, labels=y)
    with pytest.warns(UserWarning, match=r"1 of 60 samples hold NaN or infinity and are left out: row 4\."):
        data = make_dataset(str(path))
    assert data.spec.shape == (5,)
    train = data.split("train")
    assert isinstance(train, Classes)
    assert len(train) == 4
    np.savez(path, features=np.nan_to_num(X), labels=y % 2, tasks=np.arange(60) // 12)
    train = make_dataset(str(path)).split("train")
    assert isinstance(train, Groups)
    assert train.counts.tolist() == [12, 12, 12]
    np.savez(path, X=X)
    with pytest.raises(MetaRLError, match="holds X; it needs features"):
        make_dataset(str(path))
    path.write_bytes(b"PK no more")
    with pytest.raises(MetaRLError, match=r"damaged or no \.npz"):
        make_dataset(str(path))


def pictures(folder: Path, classes: int = 12, size: tuple[int, int] = (20, 16)) -> Path:
    """A tree of folders of coloured pictures."""
    for i in range(classes):
        place, random = folder / f"class {i:02d}", np.random.default_rng(i)
        place.mkdir(parents=True)
        colour = random.integers(0, 255, 3)
        for j in range(10):
            noisy = (colour + random.normal(0, 20, (size[1], size[0], 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(place / f"{j}.png")
    return folder


def test_a_tree_of_pictures_keeps_size_and_colour_unless_asked(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "pictures")
    data = make_dataset(f"{folder}/")
    assert data.spec.shape == (3, 16, 20)
    assert [len(source) for source in data.splits.values() if isinstance(source, Classes)] == [7, 2, 3]
    assert make_dataset(f"{folder}?size=8").spec.shape == (3, 8, 8)
    assert make_dataset(f"{folder}?size=8&grey=true").spec.shape == (8, 8)
    pixel = data.split("train").draw(EpisodeSpec(2, 1, 1), 1, torch.Generator().manual_seed(0)).support.inputs[0, 0]
    assert pixel.mean((1, 2)).std() > 0.05  # the channels differ
    Image.new("RGB", (40, 40)).save(folder / "class 00" / "large.png")
    with pytest.warns(UserWarning, match="2 sizes, most often 20 × 16; all are made 84 × 84"):
        assert make_dataset(str(folder)).spec.shape == (3, 84, 84)
    with pytest.raises(MetaRLError, match="sides of 4 to 1024"):
        make_dataset(f"{folder}?size=2")
    with pytest.raises(MetaRLError, match="has no use for --text"):
        make_dataset(f"{folder}?text=a")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(MetaRLError, match="needs a folder of pictures for each class"):
        make_dataset(str(empty))


def test_folders_of_splits_decide_and_grey_pictures_stay_grey(tmp_path: Path) -> None:
    for split, names in {"train": "abc", "test": "de"}.items():
        for name in names:
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(3):
                Image.new("L", (8, 8), 20 * i + ord(name)).save(tmp_path / split / name / f"{i}.png")
    data = make_dataset(str(tmp_path))
    assert data.split("test").names == ("d", "e")
    assert data.spec.shape == (8, 8)


def test_pictures_become_vectors_by_an_encoder_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "means.py").write_text("def colour(items):\n    return [item.mean((1, 2)) for item in items]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    data = make_dataset(f"{pictures(tmp_path / 'pictures')}?encoder=means:colour&size=8")
    assert data.spec.shape == (3,)
    assert data.spec.encoder == "means:colour"


def test_one_command_trains_on_a_file_and_the_run_finds_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = intents(tmp_path)
    given = ["--text", "sentence", "--label", "intent", "--encoder", "ngrams", "--iterations", "4"]
    with pytest.warns(UserWarning, match="no training episodes of way 20.* those of way 5"):
        main(["fewshot", "train", "prototypical", "--data", str(path), *given, "--runs", str(tmp_path), "--quiet"])
    folder = tmp_path / "prototypical-intents.csv-ngrams"
    run = FewShotRun.open(folder)
    assert run.dataset_name == f"{path}?text=sentence&label=intent&encoder=ngrams"
    assert run.config.episode.way == 5
    with warnings.catch_warnings(action="ignore"):
        more = [*given[:-1], "6", "--resume", "--quiet"]
        main(["fewshot", "train", "prototypical", "--data", str(path), *more, "--runs", str(tmp_path)])
    assert FewShotRun.open(folder).trained_amount(0) == 6
    main(["fewshot", "evaluate", str(folder), "--episodes", "20", "--quiet"])
    assert "3w1s" in capsys.readouterr().out  # as many classes as there are
    words = ["--text", "sentence", "--label", "intent", "--encoder", "ngrams", "--config.episode.way", "9"]
    given = ["--data", str(path), *words, "--runs", str(tmp_path), "--name", "b"]
    with pytest.raises(SystemExit):
        main(["fewshot", "train", "prototypical", *given])
    assert "9-way episodes" in capsys.readouterr().err


def test_no_encoder_is_imported_because_a_run_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trusted_once.py").write_text("def length(items):\n    return [[len(e), 1] for e in items]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"{intents(tmp_path)}?text=sentence&label=intent&encoder=trusted_once:length"
    with warnings.catch_warnings(action="ignore"):
        FewShotRun.create(tmp_path / "run", "prototypical", preset_config("prototypical"), name)
    monkeypatch.delitem(sys.modules, "trusted_once")
    with pytest.raises(MetaRLError, match=r"names the encoder 'trusted_once:length'.*say --encoder trusted_once:leng"):
        FewShotRun.open(tmp_path / "run")
    assert FewShotRun.open(tmp_path / "run", encoder="trusted_once:length").dataset().spec.shape == (2,)
