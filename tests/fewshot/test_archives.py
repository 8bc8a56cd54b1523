"""Published few-shot data sets as people have them: read alike from every layout, and refused where not whole."""

import hashlib
import http.client
import io
import json
import pickle
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from metarl.core.errors import MetaRLError
from metarl.fewshot import cifar, imagenet, places
from metarl.fewshot.data.cifar import cifar10_parts, cifarfs_parts
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.episodes import Classes, EpisodeSpec
from metarl.fewshot.data.imagenet import miniimagenet_parts, tieredimagenet_parts
from metarl.fewshot.data.pickles import read_pickle

MINI = {"train": ["n02", "n01"], "val": ["n03"], "test": ["n04", "n05"]}
FS = {"train": ["owl", "ant"], "val": ["elk"], "test": ["cat"]}


class Python2(pickle._Pickler):  # the one written in Python, whose parts can be exchanged
    """Writes as Python 2 did: one kind of string, and no bytes."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def string(self, text: str | bytes) -> None:
        content = text if isinstance(text, bytes) else text.encode("latin1")
        self.write(b"T" + len(content).to_bytes(4, "little") + content)  # type: ignore[attr-defined]
        self.memoize(text)  # type: ignore[attr-defined]

    dispatch[str] = dispatch[bytes] = string


def of_python_2(content: Any) -> bytes:
    file = io.BytesIO()
    Python2(file, 2).dump(content)
    # NumPy's module had another name then, and its dtypes were made with numbers where they now have booleans.
    return file.getvalue().replace(b"numpy._core", b"numpy.core").replace(b"\x89\x88\x87", b"K\x00K\x01\x87")


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def png(pixels: np.ndarray, kind: str = "png") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def plain(level: int, side: int = 84) -> np.ndarray:
    """A picture of one colour, other in red, green and blue."""
    return np.full((side, side, 3), (level, level + 1, level + 2), np.uint8)


def levels(classes: Classes) -> list[int]:
    """The red of every sample, which says which it is; green and blue are one and two above."""
    corner = classes.samples[:, :, 0, -1].long()
    assert torch.equal(corner - corner[:, :1], torch.arange(3).expand(len(corner), 3))
    assert torch.equal(classes.samples, classes.samples[:, :, :1, :1].expand_as(classes.samples))
    return corner[:, 0].tolist()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data and cache are the test's own, the network is away, and data sets are small."""
    monkeypatch.setenv("METARL_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(imagenet, "MINI_IMAGENET", MINI)
    monkeypatch.setattr(imagenet, "TIERED_IMAGENET", {"train": 2, "val": 1, "test": 1})
    monkeypatch.setattr(imagenet, "_EACH", 2)
    monkeypatch.setattr(cifar, "CIFAR_FS", FS)
    monkeypatch.setattr(cifar, "_CIFAR_100_FILES", cifar._CIFAR_100_FILES._replace(each=3))
    monkeypatch.setattr(cifar, "_CIFAR_10_FILES", cifar._CIFAR_10_FILES._replace(each=6))
    answers(monkeypatch, OSError("no network"))
    return tmp_path


def answers(monkeypatch: pytest.MonkeyPatch, content: bytes | Exception) -> list[str]:
    """What any address gives from now on; returns the addresses that were asked."""
    asked: list[str] = []

    def urlopen(address: str, **_: Any) -> io.BytesIO:
        asked.append(address)
        if isinstance(content, Exception):
            raise content
        return io.BytesIO(content)

    monkeypatch.setattr(places.urllib.request, "urlopen", urlopen)
    return asked


def test_the_splits_are_the_published_ones(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for split, sizes in ((imagenet.MINI_IMAGENET, (64, 16, 20)), (cifar.CIFAR_FS, (64, 16, 20))):
        assert tuple(map(len, split.values())) == sizes
        assert len({name for names in split.values() for name in names}) == 100
    assert imagenet.MINI_IMAGENET["train"][0] == "n01532829"
    assert cifar.CIFAR_FS["test"][-1] == "rocket"
    assert sum(map(len, cifar.CIFAR_10.values())) == 10
    for part, names in imagenet.MINI_IMAGENET.items():
        assert (data("miniimagenet_splits") / f"{part}.txt").read_text().split() == names
    for part, names in cifar.CIFAR_FS.items():
        listed = json.loads((data("cifarfs_splits") / f"cifarfs_{part}.json").read_text())
        assert [name for _, name in listed] == names


def mini_pickles(folder: Path, dumps: Callable[[Any], bytes]) -> None:
    level = 0
    for part, names in MINI.items():
        rows = {name: [2 * i, 2 * i + 1] for i, name in enumerate(names)}
        images = np.stack([plain(level + i) for i in range(2 * len(names))])
        written(folder / f"mini-imagenet-cache-{part}.pkl", dumps({"image_data": images, "class_dict": rows}))
        level += 10


def mini_files(place: Callable[[str, str, int], Path]) -> None:
    level = 0
    for part, names in MINI.items():
        for i in range(2 * len(names)):
            written(place(part, names[i // 2], i), png(plain(level + i), "bmp"))
        level += 10


def mini_lists(folder: Path) -> None:
    mini_files(lambda part, name, i: folder / "images" / f"{name}{i}.bmp")
    for part, names in MINI.items():
        rows = [f"{names[i // 2]}{i}.bmp,{names[i // 2]}" for i in range(2 * len(names))]
        written(folder / f"{part}.csv", "\r\n".join(["filename,label", *rows, ""]).encode())


@pytest.mark.parametrize("layout", ["python 2", "python 3", "protocol 5", "bytes as keys", "lists", "folders"])
def test_miniimagenet_is_the_same_from_every_layout(here: Path, layout: str) -> None:
    folder = here / "miniimagenet"
    if layout == "python 2":
        mini_pickles(folder, of_python_2)
    elif layout == "python 3":
        mini_pickles(folder, lambda content: pickle.dumps(content, 2))
    elif layout == "protocol 5":
        mini_pickles(here / "cache" / "metarl" / "miniimagenet", lambda content: pickle.dumps(content, 5))
    elif layout == "bytes as keys":
        mini_pickles(folder, lambda content: pickle.dumps({key.encode(): each for key, each in content.items()}))
    elif layout == "lists":
        mini_lists(folder)
    else:
        mini_files(lambda part, name, i: folder / part / name / f"{i}.bmp")
    parts = miniimagenet_parts()
    assert {part: classes.names for part, classes in parts.items()} == {p: tuple(names) for p, names in MINI.items()}
    assert [levels(classes) for classes in parts.values()] == [[0, 1, 2, 3], [10, 11], [20, 21, 22, 23]]
    train = FewShotDataset("miniimagenet", parts).part("train")
    assert (train.shape, train.samples.dtype, train.counts.tolist()) == ((3, 84, 84), torch.uint8, [2, 2])
    support = train.draw(EpisodeSpec(2, 1, 1), 1, torch.Generator()).support
    assert (support.inputs * 255 - 4).abs().max() <= 4  # from 0 to 1
    assert train.scale == 1 / 255


def test_pictures_of_other_sizes_and_kinds_become_alike(here: Path) -> None:
    mini_lists(here / "miniimagenet")
    images = here / "miniimagenet" / "images"
    ramp = np.tile(np.arange(200, dtype=np.uint8), (50, 1))
    written(images / "n020.bmp", png(ramp, "jpeg"))  # grey, wide, and called otherwise than it is
    written(images / "n021.bmp", png(np.dstack([plain(7), np.zeros((84, 84), np.uint8)])))  # transparent
    train = miniimagenet_parts()["train"].samples
    assert (train[0].float() - torch.linspace(0, 199, 84)).abs().max() < 3
    assert (train[1] == 255).all()


def test_what_cannot_be_decoded_is_left_out_counted_and_named(here: Path) -> None:
    mini_lists(here / "miniimagenet")
    images = here / "miniimagenet" / "images"
    written(images / "n020.bmp", png(np.random.default_rng(0).integers(0, 256, (84, 84, 3), np.uint8))[:3000])
    # Of the many other kinds that Pillow knows, with its helpers for some, none is tried.
    written(images / "n041.bmp", png(plain(0), "ppm"))
    (images / "n053.bmp").unlink()
    with (
        pytest.warns(UserWarning, match=r"1 images cannot be read and are left out: .*n020\.bmp"),
        pytest.warns(UserWarning, match=r"2 images cannot be read and are left out: .*n041\.bmp, .*n053\.bmp"),
        pytest.warns(UserWarning, match=r"1 classes have other than the 2 pictures published \(n02: 1\)"),
        pytest.warns(UserWarning, match=r"2 classes have other than the 2 pictures published \(n04: 1, n05: 1\)"),
    ):
        parts = miniimagenet_parts()
    assert levels(parts["train"]) == [1, 2, 3]
    written(images / "n021.bmp", b"nor this")
    with (
        pytest.warns(UserWarning, match="2 images cannot be read"),
        pytest.raises(MetaRLError, match=r"train\.csv lacks 1 of its 2 classes \(n02\)"),
    ):
        miniimagenet_parts()


def test_a_class_that_is_missing_or_in_another_part_is_refused(here: Path) -> None:
    folder = here / "miniimagenet"
    mini_files(lambda part, name, i: folder / part / name / f"{i}.bmp")
    (folder / "train" / "n01").rename(folder / "n01")
    with pytest.raises(MetaRLError, match=r"train lacks 1 of its 2 classes \(n01\)"):
        miniimagenet_parts()
    (folder / "n01").rename(folder / "test" / "n01")
    shutil.copytree(folder / "test" / "n01", folder / "train" / "n01")
    with pytest.raises(MetaRLError, match="has 1 classes that Ravi and Larochelle's test has not, such as 'n01'"):
        miniimagenet_parts()


def test_a_pickle_of_another_kind_is_refused(here: Path) -> None:
    images, rows = np.stack([plain(i) for i in range(4)]), {"n02": [0, 1], "n01": [2, 3]}
    for content, message in (
        ([1, 2], r"train\.pkl does not hold image_data"),
        ({"image_data": images}, "'class_dict'"),
        ({"image_data": images, "class_dict": {"n02": [0, 1], "n01": [2, 4]}}, "some beyond its 4 images"),
        ({"image_data": images, "class_dict": {"n02": [0, 1], "n01": [-1, 2]}}, "some beyond its 4 images"),
        ({"image_data": images, "class_dict": {"n02": [0, 1], "n01": [1, 2]}}, "of two classes"),
        ({"image_data": images, "class_dict": {"n02": [0, 1], "n01": [2.5, 3.5]}}, "no list of integers"),
        ({"image_data": images, "class_dict": {"n02": [0, 1]}}, r"lacks 1 of its 2 classes \(n01\)"),
        ({"image_data": images, "class_dict": {**rows, "owl": []}}, "such as 'owl'"),
        ({"image_data": images[:, :80], "class_dict": rows}, r"\(4, 80, 84, 3\); \(n, 84, 84, 3\) were expected"),
        ({"image_data": images / 255, "class_dict": rows}, "of float64; bytes in three colours"),
    ):
        mini_pickles(here / "miniimagenet", pickle.dumps)
        written(here / "miniimagenet" / "mini-imagenet-cache-train.pkl", pickle.dumps(content))
        with pytest.raises(MetaRLError, match=message):
            miniimagenet_parts()


def test_a_list_without_its_header_is_refused(here: Path) -> None:
    mini_lists(here / "miniimagenet")
    for content in (b"n010.bmp,n01\n", b"filename,label\nn010.bmp\n", b"\xff\xfe"):
        written(here / "miniimagenet" / "val.csv", content)
        with pytest.raises(MetaRLError, match=r"val\.csv is no list with the header filename,label"):
            miniimagenet_parts()


@pytest.mark.parametrize("parts", [miniimagenet_parts, tieredimagenet_parts, cifarfs_parts, cifar10_parts])
def test_without_files_it_is_said_what_is_wanted_and_where_to_get_it(here: Path, parts: Callable[[], Any]) -> None:
    wanted = {
        miniimagenet_parts: (
            "mini-imagenet-cache-{train,val,test}.pkl",
            "train.csv",
            "train/CLASS/",
            "meta-learning-lstm",
        ),
        tieredimagenet_parts: ("_images_png.pkl", "_labels.pkl", "_images.npz", "few-shot-ssl-public"),
        cifarfs_parts: ("cifar-100-python.tar.gz", "train, test, meta", "no network", "METARL_DATA", "kriz/cifar-100"),
        cifar10_parts: ("cifar-10-python.tar.gz", "data_batch_5", "no network", "METARL_DATA", "kriz/cifar-10"),
    }[parts]
    with pytest.raises(MetaRLError) as error:
        parts()
    for words in (*wanted, str(here)):
        assert words in str(error.value)


def tiered(folder: Path, encode: Callable[[bytes], Any] | None, dumps: Callable[[Any], bytes] = pickle.dumps) -> None:
    for part, labels, level in (("train", [1, 0, 1], 0), ("val", [0, 0], 10), ("test", [0, 0], 20)):
        about = {
            "label_specific": np.array(labels, np.int32),
            "label_specific_str": ["crane", "owl"][: max(labels) + 1],
        }
        written(folder / f"{part}_labels.pkl", dumps(about))
        pictures = [plain(level + i) for i in range(len(labels))]
        if encode is None:
            np.savez(folder / f"{part}_images.npz", images=np.stack(pictures)[..., ::-1])
        else:
            written(folder / f"{part}_images_png.pkl", dumps([encode(png(picture)) for picture in pictures]))


@pytest.mark.parametrize("layout", ["arrays", "columns", "bytes", "python 2", "npz"])
def test_tieredimagenet_is_the_same_from_every_layout(here: Path, layout: str) -> None:
    encode, dumps = {
        "arrays": (lambda content: np.frombuffer(content, np.uint8), lambda each: pickle.dumps(each, 2)),
        "columns": (lambda content: np.frombuffer(content, np.uint8)[:, None], pickle.dumps),  # as OpenCV gives them
        "bytes": (bytes, pickle.dumps),
        "python 2": (bytes, of_python_2),
        "npz": (None, of_python_2),
    }[layout]
    tiered(here / "tieredimagenet", encode, dumps)
    parts = tieredimagenet_parts()
    assert parts["train"].names == ("train 0: crane", "train 1: owl")
    assert parts["train"].counts.tolist() == [1, 2]
    assert [levels(classes) for classes in parts.values()] == [[1, 0, 2], [10, 11], [20, 21]]
    assert FewShotDataset("tieredimagenet", parts).part("test").shape == (3, 84, 84)


def test_tieredimagenet_is_whole_or_refused(here: Path) -> None:
    folder = here / "tieredimagenet"
    tiered(folder, bytes)
    for content, message in (
        ([png(plain(0))] * 2, "does not hold a list of the 3 pictures"),
        ([png(plain(0)), 5, b""], "has a int in row 1"),
        (b"", "does not hold a list"),
    ):
        written(folder / "train_images_png.pkl", pickle.dumps(content))
        with pytest.raises(MetaRLError, match=message):
            tieredimagenet_parts()
    written(folder / "train_images_png.pkl", pickle.dumps([b"", png(plain(0)), png(plain(1))]))
    with pytest.warns(UserWarning, match=r"1 images cannot be read and are left out: train_images_png\.pkl\[0\]"):
        assert tieredimagenet_parts()["train"].counts.tolist() == [1, 1]
    written(folder / "train_images_png.pkl", pickle.dumps([b"", png(plain(0)), b""]))
    with (
        pytest.warns(UserWarning, match="2 images cannot be read"),
        pytest.raises(MetaRLError, match="no picture of train 1: owl that can be read"),
    ):
        tieredimagenet_parts()
    written(folder / "train_labels.pkl", pickle.dumps({"label_specific": np.zeros(3, np.int32)}))
    with pytest.raises(MetaRLError, match="has 1 classes, and 2 were expected"):
        tieredimagenet_parts()
    written(folder / "train_labels.pkl", pickle.dumps({"label_general": [0]}))
    with pytest.raises(MetaRLError, match="does not hold label_specific"):
        tieredimagenet_parts()
    tiered(folder, None)
    whole = (folder / "val_images.npz").read_bytes()
    written(folder / "val_images.npz", whole[: len(whole) // 2])
    with pytest.raises(MetaRLError, match=r"val_images\.npz is damaged"):
        tieredimagenet_parts()
    np.savez_compressed(folder / "val_images.npz", images=np.zeros((30, 84, 84, 3), np.uint8))
    with pytest.raises(MetaRLError, match=r"images\.npy has 635,168 bytes; 88,768 at most were expected"):
        tieredimagenet_parts()
    np.savez(folder / "val_images.npz", images=np.zeros((3, 84, 84, 3), np.uint8))
    with pytest.raises(MetaRLError, match=r"\(2, 84, 84, 3\) were expected by its labels"):
        tieredimagenet_parts()


def batch(level: int, numbers: list[int], labels: str) -> dict[str, Any]:
    pictures = np.stack([plain(level + i, 32).transpose(2, 0, 1).reshape(-1) for i in range(len(numbers))])
    return {"data": pictures, labels: numbers, "filenames": ["x.png"] * len(numbers)}


def cifar100(folder: Path) -> Path:
    """Five classes, the last of no part, two samples of each in train and one in test."""
    written(folder / "meta", of_python_2({"fine_label_names": ["ant", "cat", "elk", "owl", "yak"]}))
    written(folder / "train", of_python_2(batch(0, [3, 1, 4, 0, 2, 0, 1, 2, 3, 4], "fine_labels")))
    written(folder / "test", of_python_2(batch(50, [0, 1, 2, 3, 4], "fine_labels")))
    return folder


def packed(folder: Path, path: Path, *others: tarfile.TarInfo) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for other in others:
            archive.addfile(other)
        for each in sorted(folder.iterdir()):
            if f"{folder.name}/{each.name}" not in [other.name for other in others]:
                archive.add(each, f"{folder.name}/{each.name}")
    content = path.read_bytes()
    path.unlink()
    return content


def fs_levels() -> list[list[int]]:
    return [levels(classes) for classes in cifarfs_parts().values()]


def as_published(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Let an archive be the one whose checksum is known."""
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(cifar, "_CIFAR_100_FILES", cifar._CIFAR_100_FILES._replace(md5=md5))


def test_cifar_fs_from_cifar_100s_own_files_and_from_folders(here: Path) -> None:
    folder = cifar100(here / "cifar100" / "cifar-100-python")
    parts = cifarfs_parts()
    assert [classes.names for classes in parts.values()] == [("owl", "ant"), ("elk",), ("cat",)]
    assert fs_levels() == [[0, 8, 53, 3, 5, 50], [4, 7, 52], [1, 6, 51]]
    assert FewShotDataset("cifar-fs", parts).part("train").shape == (3, 32, 32)
    assert parts["train"].scale == 1 / 255
    shutil.rmtree(folder)
    for level, name in enumerate(["owl", "ant", "elk", "cat", "yak"]):
        for i in range(3):
            written(here / "cifar100" / "data" / name / f"{i}.png", png(plain(10 * level + i, 32)))
    assert fs_levels() == [[0, 1, 2, 10, 11, 12], [20, 21, 22], [30, 31, 32]]
    shutil.rmtree(here / "cifar100" / "data" / "elk")
    with pytest.raises(MetaRLError, match="holds no class with an image"):
        cifarfs_parts()


def test_cifar_100_is_fetched_once_and_only_what_is_needed_is_unpacked(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, hostile = cifar100(here / "made" / "cifar-100-python"), tarfile.TarInfo("../../escaped")
    written(made / "file.txt~", b"")
    content = packed(made, here / "made.tar.gz", hostile)
    as_published(monkeypatch, content)
    asked = answers(monkeypatch, content)
    assert fs_levels() == fs_levels() == [[0, 8, 53, 3, 5, 50], [4, 7, 52], [1, 6, 51]]
    assert asked == ["https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"]
    kept = here / "cache" / "metarl" / "cifar100"
    assert sorted(each.name for each in kept.rglob("*") if each.is_file()) == [
        *("cifar-100-python.tar.gz", "meta", "test", "train"),
    ]
    assert not list(here.rglob("escaped"))
    (kept / "cifar-100-python" / "test").unlink()  # as after a stop between two files
    assert fs_levels()[1] == [4, 7, 52]
    assert len(asked) == 1


def test_a_download_that_breaks_off_or_is_another_file_is_not_kept(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = packed(cifar100(here / "made" / "cifar-100-python"), here / "made.tar.gz")
    as_published(monkeypatch, content)
    answers(monkeypatch, content[:-100])
    with pytest.raises(MetaRLError, match=rf"{len(content) - 100:,} bytes, is not the cifar-100-python\.tar\.gz"):
        cifarfs_parts()
    answers(monkeypatch, http.client.IncompleteRead(b"", 100))
    with pytest.raises(MetaRLError, match=r"cannot be reached .*100 more expected.*Put cifar-100-python"):
        cifarfs_parts()
    assert not (here / "cache").exists()
    asked = answers(monkeypatch, content)
    kept = written(here / "cifar100" / "cifar-100-python.tar.gz", content[:-100])
    with pytest.raises(MetaRLError, match=r"cifar100/cifar-100-python\.tar\.gz is partial or damaged: its MD5"):
        cifarfs_parts()
    written(kept, content)
    assert fs_levels()[2] == [1, 6, 51]
    assert not asked  # for the archive was there


def test_an_archive_without_a_file_or_with_a_link_in_its_place_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, link = cifar100(here / "made" / "cifar-100-python"), tarfile.TarInfo("cifar-100-python/test")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    linked = packed(made, here / "made.tar.gz", link)
    (made / "test").unlink()
    for content, message in (
        (linked, "has cifar-100-python/test, but not as a file"),
        (packed(made, here / "made.tar.gz"), "cannot be unpacked.*cifar-100-python/test"),
        (b"no archive", "cannot be unpacked"),
    ):
        as_published(monkeypatch, content)
        written(here / "cifar100" / "cifar-100-python.tar.gz", content)
        with pytest.raises(MetaRLError, match=message):
            cifarfs_parts()


def test_damaged_files_of_cifar_100_are_named(here: Path) -> None:
    folder = cifar100(here / "cifar100" / "cifar-100-python")
    for name, content, message in (
        ("train", (folder / "train").read_bytes()[:200], r"cifar-100-python/train is damaged or no pickle"),
        (
            "train",
            of_python_2(batch(0, [3, 1, 4, 0, 2, 0, 1, 2, 3, 3], "fine_labels")),
            "3 pictures of 1 .* owl with 4",
        ),
        ("train", of_python_2(batch(0, [3], "coarse_labels")), "/train does not hold pictures as 'data'"),
        ("test", of_python_2({**batch(0, [3, 2], "x"), "fine_labels": [3]}), "/test does not hold pictures"),
        ("test", of_python_2([]), "/test does not hold pictures"),
        ("meta", of_python_2({"fine_label_names": ["ant", "cat", "owl"]}), "meta names no class elk; fetch it anew"),
        ("meta", of_python_2(["ant"]), "meta names no class owl, ant, elk, cat"),
    ):
        cifar100(folder)
        written(folder / name, content)
        with pytest.raises(MetaRLError, match=message):
            cifarfs_parts()


def test_cifar_10_is_in_parts_of_6_2_and_2(here: Path) -> None:
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    folder = here / "cifar10" / "cifar-10-batches-py"
    written(folder / "batches.meta", of_python_2({"label_names": names}))
    for i, file in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        written(folder / file, of_python_2(batch(10 * i, list(range(10)), "labels")))
    parts = cifar10_parts()
    assert [name for classes in parts.values() for name in classes.names] == names
    assert [len(classes) for classes in parts.values()] == [6, 2, 2]
    assert levels(parts["test"]) == [8, 18, 28, 38, 48, 58, 9, 19, 29, 39, 49, 59]
    (folder / "data_batch_3").unlink()
    with pytest.raises(MetaRLError, match=r"no network.*data_batch_3"):
        cifar10_parts()


def test_what_python_2_wrote_is_read_without_a_warning(here: Path) -> None:
    content = of_python_2({"data": np.arange(250, 256, dtype=np.uint8), "name": "owl", "n": np.float32(2)})
    found = read_pickle(written(here / "old", content))
    assert found["data"].tolist() == [250, 251, 252, 253, 254, 255]
    assert (found["name"], found["n"]) == ("owl", 2)
    xrange = read_pickle(written(here / "old", b"c__builtin__\nxrange\n(K\x00K\x03K\x01tR."))
    assert list(xrange) == [0, 1, 2]
