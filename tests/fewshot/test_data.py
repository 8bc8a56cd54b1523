"""Data sets: whole, apart, and refused where they are not; from arrays, folders and Omniglot's archives."""

import io
import shutil
import struct
import tracemalloc
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from metarl.core.errors import MetaRLError
from metarl.fewshot.data import reader
from metarl.fewshot.data.dataset import DataSpec, FewShotDataset
from metarl.fewshot.data.episodes import Classes, EpisodeSpec
from metarl.fewshot.data.published import omniglot, read_omniglot
from metarl.fewshot.data.registry import equal_classes, make_dataset
from metarl.fewshot.data.synthetic_characters import stroke_classes
from metarl.fewshot.learners.registry import preset_config
from metarl.fewshot.model import FewShot


def classes(*names: str, side: int = 4) -> Classes:
    return equal_classes(np.zeros((len(names), 3, side, side), np.uint8), names)


def test_a_class_in_two_splits_is_refused() -> None:
    with pytest.raises(MetaRLError, match="'b' is in train and in test"):
        FewShotDataset("s", {"train": classes("a", "b"), "test": classes("b")})
    with pytest.raises(MetaRLError, match="different shapes"):
        FewShotDataset("s", {"train": classes("a"), "test": classes("b", side=5)})
    with pytest.raises(MetaRLError, match=r"splits \['exam'\]"):
        FewShotDataset("s", {"exam": classes("a")})
    with pytest.raises(MetaRLError, match="has no split 'val', but train"):
        FewShotDataset("s", {"train": classes("a")}).split("val")
    with pytest.raises(MetaRLError, match=r"known are strokes, omniglot"):
        make_dataset("imagenet")


def test_strokes_are_the_same_every_time_and_classes_differ_more_than_drawings() -> None:
    one, more = stroke_classes(3, 4), stroke_classes(20, 4)
    assert np.array_equal(one, more[:3])
    assert not np.array_equal(one, stroke_classes(3, 4, seed=1))
    assert set(np.unique(more)) == {0, 1}
    flat = more.reshape(80, -1).astype(np.int64)
    apart = np.abs(flat[:, None] - flat).sum(-1)
    same = np.kron(np.eye(20), np.ones((4, 4))).astype(bool)
    assert apart[same & ~np.eye(80, dtype=bool)].mean() < 0.9 * apart[~same].mean()
    assert apart[~np.eye(80, dtype=bool)].min() > 0


def test_labelled_arrays_are_split_by_class() -> None:
    random = np.random.default_rng(0)
    X, y = random.random((60, 3)), np.repeat([f"label {i}" for i in range(10)], 6)
    order = random.permutation(60)
    made = FewShotDataset.from_arrays(X[order], y[order])
    assert {name: len(split.names) for name, split in made.splits.items()} == {"train": 6, "val": 2, "test": 2}
    for split in made.splits.values():
        for i, name in enumerate(split.names):
            found = split.samples[6 * i : 6 * i + 6].numpy()
            np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(X[y == name], axis=0))
    again, other = (FewShotDataset.from_arrays(X, y, seed=seed) for seed in (0, 1))
    assert [split.names for split in again.splits.values()] == [split.names for split in made.splits.values()]
    assert [split.names for split in other.splits.values()] != [split.names for split in made.splits.values()]
    chosen = FewShotDataset.from_arrays(
        np.arange(8, dtype=np.uint8), [3, 1, 2, 2, 1, 3, 7, 7], splits={"train": [2, 3], "test": [1, 7]}, scale=0.5
    )
    assert chosen.split("train").names == ("2", "3")
    assert chosen.split("train").samples.tolist() == [2, 3, 0, 5]
    support, *_ = chosen.split("test").draw(EpisodeSpec(2, 1, 1), 1, torch.Generator())
    assert set(support.inputs.flatten().tolist()) <= {0.5, 2.0, 3.0, 3.5}
    model = FewShot("prototypical", made, replace(preset_config("prototypical"), width=4, episode=EpisodeSpec(4, 2, 2)))
    model.fit(made, iterations=2)


@pytest.mark.parametrize(
    ("X", "y", "splits", "message"),
    [
        (np.zeros((4, 2)), [0, 1, 0], None, r"X is float64 \(4, 2\) and y int64 \(3,\); give numbers"),
        (np.array([["a"], ["b"]]), [0, 1], None, "X is <U1"),
        (np.zeros((2, 2)), [0, 0], None, "Split 'val' has labels \\[\\]"),
        (np.zeros((2, 2)), [0, 1], {"train": [0], "test": [5]}, "Split 'test' has labels \\[5\\]; .* such as 0"),
        (np.zeros((2, 2)), [0, 1], {"train": [0], "test": [0]}, "class '0' is in train and in test"),
        (np.zeros((2, 2)), [0, 1], {"train": [0], "exam": [1]}, r"splits \['exam'\]"),
        (np.full((2, 2), np.nan), [0, 1], {"train": [0], "test": [1]}, "NaN"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(X: Any, y: Any, splits: Any, message: str) -> None:
    with pytest.raises(MetaRLError, match=message):
        FewShotDataset.from_arrays(X, y, splits=splits)


def test_images_of_ones_own(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for part, name, n in (("train", "cat", 3), ("train", "dog", 2), ("test", "emu", 2), ("test", "fox", 4)):
        folder = tmp_path / part / name
        folder.mkdir(parents=True)
        for i in range(n):
            Image.fromarray(random.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / f"{i}.png")
    (tmp_path / "train" / "cat" / "broken.png").write_bytes(b"no image")
    (tmp_path / "train" / "cat" / "notes.txt").write_text("nothing")
    (tmp_path / "train" / "empty").mkdir()
    with pytest.warns(UserWarning, match="1 images cannot be read.*broken.png"):
        dataset = make_dataset(f"folder:{tmp_path}")
    assert dataset.split("train").names == ("cat", "dog")
    assert dataset.split("train").counts.tolist() == [3, 2]
    assert dataset.spec == DataSpec((28, 28), 2)
    support, *_ = dataset.split("test").draw(EpisodeSpec(2, 1, 1), 1, torch.Generator())
    assert 0 <= support.inputs.min() < support.inputs.max() <= 1
    with pytest.raises(MetaRLError, match="There is no folder"):
        make_dataset("folder:nowhere")
    with pytest.raises(MetaRLError, match="it needs train/CLASS/ and test/CLASS/"):
        make_dataset(f"folder:{tmp_path / 'train'}")


def test_an_image_in_two_classes_and_a_class_under_two_names_are_told(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for place in ("train/cat", "train/Cat", "train/dog", "val/DOG ", "test/emu", "test/fox"):
        (tmp_path / place).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(random.integers(0, 256, (9, 9), np.uint8)).save(tmp_path / place / f"{i}.png")
    with pytest.warns(UserWarning, match="names that differ") as caught:
        make_dataset(f"folder:{tmp_path}")
    assert [str(each.message) for each in caught] == [
        "2 classes have names that differ only in case or spaces; are they one? train/Cat = train/cat, "
        "train/dog = val/DOG "
    ]
    shutil.rmtree(tmp_path / "train" / "Cat")
    shutil.rmtree(tmp_path / "val")
    make_dataset(f"folder:{tmp_path}")  # no warning, which would be an error here
    shutil.copy(tmp_path / "train/cat/0.png", tmp_path / "train/cat/again.png")  # in one class
    make_dataset(f"folder:{tmp_path}")
    shutil.copy(tmp_path / "train/cat/0.png", tmp_path / "train/dog/7.png")
    shutil.copy(tmp_path / "train/dog/1.png", tmp_path / "test/fox/8.png")
    with pytest.warns(UserWarning, match="more than one class") as caught:
        make_dataset(f"folder:{tmp_path}")
    assert [str(each.message) for each in caught] == [
        f"2 images are in more than one class; leave each in one: {tmp_path}/train/cat/0.png = "
        f"{tmp_path}/train/dog/7.png, {tmp_path}/train/dog/1.png = {tmp_path}/test/fox/8.png"
    ]


def test_what_is_transparent_is_white_and_many_bits_are_scaled(tmp_path: Path) -> None:
    drawn = np.zeros((28, 28, 4), np.uint8)  # black, and transparent but for a bar
    drawn[5:9, :, 3] = 255
    deep = np.tile(np.linspace(0, 65535, 28), (28, 1)).astype(np.uint16)
    for part in ("train", "test"):
        for name, picture in (("bar", drawn), ("ramp", deep)):
            folder = tmp_path / part / f"{name}-{part}"
            folder.mkdir(parents=True)
            Image.fromarray(picture).save(folder / "0.png")
    with pytest.warns(UserWarning, match="2 images are in more than one class"):
        samples = make_dataset(f"folder:{tmp_path}").split("test").samples.numpy()
    assert (samples[0, 5:9] == 0).all()
    assert (samples[0, 10:] == 255).all()
    np.testing.assert_allclose(samples[1, 3], np.linspace(0, 255, 28), atol=1)


def archive(path: Path, characters: int = 2, drawers: int = 20) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for c in range(characters):
            for d in range(drawers):
                pixels = np.ones((105, 105), bool)
                pixels[4 * d : 4 * d + 9, 10 + c : 60] = False
                content = io.BytesIO()
                Image.fromarray(pixels).save(content, "png")
                made.writestr(f"images/Runes/character{c + 1:02}/{d + 1:02}.png", content.getvalue())
    return path


def test_an_archive_of_omniglot_is_whole_or_refused(tmp_path: Path) -> None:
    found = read_omniglot(archive(tmp_path / "a.zip"), 2)
    assert list(found) == ["images/Runes/character01", "images/Runes/character02"]
    picture = found["images/Runes/character01"]
    assert picture.shape == (20, 28, 28)
    assert picture.dtype == np.uint8
    assert set(np.unique(picture)) == {0, 1}
    assert 0 < picture.mean() < 0.2  # ink is 1
    with pytest.raises(MetaRLError, match="holds 2 characters"):
        read_omniglot(tmp_path / "a.zip", 3)
    with pytest.raises(MetaRLError, match="1 of them with other than 20"):
        read_omniglot(archive(tmp_path / "b.zip", 1, 19), 1)
    (tmp_path / "c.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:4000])
    with pytest.raises(MetaRLError, match=r"c\.zip is damaged"):
        read_omniglot(tmp_path / "c.zip", 2)


def grey(width: int, height: int) -> bytes:
    """A PNG file that says it is so large, of a few bytes."""
    content = io.BytesIO()
    Image.new("1", (8, 8)).save(content, "png")
    header = content.getvalue()
    chunk = b"IHDR" + struct.pack(">II", width, height) + header[24:29]
    return header[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + header[33:]


def gif() -> bytes:
    content = io.BytesIO()
    Image.new("P", (105, 105)).save(content, "gif")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(2**17), r"1\.png has 131,072 bytes; 65,536 at most were expected"),
        (bytes(2**28), r"1\.png has 268,435,456 bytes"),
        (grey(40_000, 40_000), "could be decompression bomb DOS attack"),
        (grey(10_000, 10_000), "10000 × 10000 pixels"),
        (grey(105, 2000), "105 × 2000 pixels"),
        (grey(0, 8), "cannot identify image file"),
        (b"no picture", "cannot identify image file"),
        (gif(), "cannot identify image file"),
    ],
    ids=["too long", "256 MiB", "bomb", "half a bomb", "too high", "nothing", "no picture", "another format"],
)
def test_what_would_fill_the_memory_is_refused_before_it_is_read(content: bytes, message: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        made.writestr("images/Runes/character01/1.png", content)
    tracemalloc.start()
    with pytest.raises(MetaRLError, match=rf"a\.zip is damaged.*{message}.*delete it") as raised:
        read_omniglot(path, 2)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(raised.value)
    assert most < 2**24


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    content = bytearray(archive(tmp_path / "a.zip").read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(MetaRLError, match=r"01\.png is encrypted"):
        read_omniglot(tmp_path / "a.zip", 2)


def test_a_packed_file_of_omniglot_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METARL_DATA", str(tmp_path))
    (tmp_path / "omniglot").mkdir()
    with zipfile.ZipFile(tmp_path / "omniglot" / "omniglot_28_nearest.npz", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("bits.npy", bytes(2**27))
    with pytest.raises(MetaRLError, match=r"nearest\.npz is damaged \(bits\.npy has 134,217,728 bytes"):
        omniglot()


def test_omniglot_without_data_or_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METARL_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(reader.urllib.request, "urlopen", offline)
    with pytest.raises(MetaRLError, match="set METARL_DATA"):
        make_dataset("omniglot")

    def other(*_: Any, **__: Any) -> io.BytesIO:
        return io.BytesIO(b"something else")

    monkeypatch.setattr(reader.urllib.request, "urlopen", other)
    with pytest.raises(MetaRLError, match=r"images_background\.zip gave, 14 bytes, is partial or damaged"):
        make_dataset("omniglot")
    assert not list((tmp_path / "cache").rglob("*.zip"))  # nothing wrong is kept


def test_omniglot_has_the_published_split(data: Any) -> None:
    data("omniglot")
    dataset = make_dataset("omniglot")
    assert {part: len(each) for part, each in dataset.splits.items()} == {"train": 4112, "val": 688, "test": 1692}
    train = dataset.split("train")
    assert train.names[0] == "Angelic/character01/rot000"
    first, turned = train.samples[:20], train.samples[20:40]
    assert torch.equal(torch.rot90(first, 1, (1, 2)), turned)
    support, query, *_ = dataset.split("test").draw(EpisodeSpec(5, 1, 5), 300, torch.Generator().manual_seed(0))
    # The nearest by the cosine of pixels: 45.9 ± 1.0 by another count of 600 episodes; 56 where pixels are smoothed.
    one, other = (part.inputs.flatten(2) for part in (support, query))
    cosines = torch.nn.functional.normalize(other, dim=-1) @ torch.nn.functional.normalize(one, dim=-1).mT
    assert (cosines.argmax(-1) == query.targets).float().mean() == pytest.approx(0.46, abs=0.03)


def test_what_cannot_be_adapted_to_is_refused() -> None:
    model, images = FewShot("maml", DataSpec((28, 28))), np.zeros((6, 28, 28))
    for inputs, labels, message in (
        (np.zeros((6, 20, 28)), range(6), r"Samples have shape \(6, 20, 28\); \(n, 28, 28\) is taken"),
        (images, range(5), "6 samples and labels of shape"),
        (images, [1] * 6, "nothing to tell apart"),
        (images + np.nan, [0, 1] * 3, "NaN"),
        (images, range(6), "made for 5 classes and cannot tell 6 apart"),
    ):
        with pytest.raises(MetaRLError, match=message):
            model.adapt(inputs, labels)
    with pytest.raises(MetaRLError, match="this learner was made for"):
        model.fit(FewShotDataset("s", {"train": classes("a", "b")}))
    with pytest.raises(MetaRLError, match="Known are alpaca, anil"):
        preset_config("transformer")
    with pytest.raises(MetaRLError, match="mann has a MANNConfig, not a GradientConfig"):
        FewShot("mann", DataSpec((28, 28)), preset_config("maml"))
    with pytest.raises(MetaRLError, match="one kind that can be sorted"):
        model.adapt(images, ["a", None, "b", 1, 2, 3])
    with pytest.raises(MetaRLError, match="numbers of one shape"):
        model.adapt([[1], [2, 3]], ["a", "b"])
    with pytest.raises(MetaRLError, match="score at least one"):
        model.evaluate(classes("a", side=28), EpisodeSpec(), 0)
    with pytest.raises(MetaRLError, match=r"Samples have shape \(4, 4\)"):
        model.evaluate(classes("a"), EpisodeSpec())
    with pytest.raises(MetaRLError, match="5-way episodes"):
        model.check(classes("a", side=28), EpisodeSpec())
    with pytest.raises(MetaRLError, match="Device"):
        FewShot("maml", DataSpec((28, 28)), device="tpu")


def test_a_classifier_stays_as_it_is_while_training_goes_on() -> None:
    images = stroke_classes(30, 8)
    config = replace(preset_config("prototypical"), episode=EpisodeSpec(5, 1, 3), width=8)
    model = FewShot("prototypical", DataSpec((28, 28), 30), config)
    classifier = model.adapt(torch.from_numpy(images[:3, 0]), [0, 1, 2])
    before = classifier.predict_proba(images[0])
    model.fit(FewShotDataset("s", {"train": equal_classes(images, tuple(map(str, range(30))))}), iterations=3)
    np.testing.assert_array_equal(classifier.predict_proba(images[0]), before)


def test_labels_may_be_words() -> None:
    model, images = FewShot("prototypical", DataSpec((28, 28))), stroke_classes(3, 4).astype(np.float32)
    words = np.repeat(["owl", "ant", "elk"], 2)
    classifier = model.adapt(images[:, :2].reshape(-1, 28, 28), words)
    assert classifier.classes_.tolist() == ["ant", "elk", "owl"]
    assert classifier.predict(images[:, :2].reshape(-1, 28, 28)).tolist() == words.tolist()
    assert classifier.predict_proba(images[0]).shape == (4, 3)
