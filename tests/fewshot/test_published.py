"""Published data sets from archives, arrays and folders of images: whole and as published, or refused."""

import hashlib
import http.client
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from metarl.core.errors import MetaRLError
from metarl.fewshot.data import class_lists, published, reader
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.episodes import Classes, EpisodeSpec
from metarl.fewshot.data.published import cifar_10, cifar_fs, imagenet

MINI = {"train": ["n02", "n01"], "val": ["n03"], "test": ["n04", "n05"]}
FS = {"train": ["owl", "ant"], "val": ["elk"], "test": ["cat"]}
CIFAR_100 = "cifar-100-binary.tar.gz"


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def encoded(pixels: np.ndarray, kind: str = "png") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def plain(level: int, side: int = 84) -> np.ndarray:
    """An image of one colour, other in red, green and blue."""
    return np.full((side, side, 3), (level, level + 1, level + 2), np.uint8)


def levels(classes: Classes) -> list[int]:
    """The red of every sample, which says which it is; green and blue are one and two above."""
    corner = classes.samples[:, :, 0, -1].long()
    assert torch.equal(corner - corner[:, :1], torch.arange(3).expand(len(corner), 3))
    assert torch.equal(classes.samples, classes.samples[:, :, :1, :1].expand_as(classes.samples))
    return corner[:, 0].tolist()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data and cache are the test's own, and the network is away."""
    monkeypatch.setenv("METARL_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(published, "CIFAR_FS", FS)
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

    monkeypatch.setattr(reader.urllib.request, "urlopen", urlopen)
    return asked


def test_the_splits_are_the_published_ones(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for split, sizes in ((class_lists.MINI_IMAGENET, (64, 16, 20)), (class_lists.CIFAR_FS, (64, 16, 20))):
        assert tuple(map(len, split.values())) == sizes
        assert len({name for names in split.values() for name in names}) == 100
    assert class_lists.MINI_IMAGENET["train"][0] == "n01532829"
    assert class_lists.CIFAR_FS["test"][-1] == "rocket"
    assert sum(map(len, class_lists.CIFAR_10.values())) == 10
    for name, names in class_lists.MINI_IMAGENET.items():
        assert (data("miniimagenet_splits") / f"{name}.txt").read_text().split() == names
    for name, names in class_lists.CIFAR_FS.items():
        listed = json.loads((data("cifarfs_splits") / f"cifarfs_{name}.json").read_text())
        assert [each for _, each in listed] == names


# --- ImageNet's two ---


def mini_folders(folder: Path) -> None:
    for start, (split, names) in zip((0, 10, 20), MINI.items(), strict=True):
        for i in range(2 * len(names)):
            written(folder / split / names[i // 2] / f"{i}.bmp", encoded(plain(start + i), "bmp"))


def mini_arrays(folder: Path) -> None:
    folder.mkdir(parents=True)
    for start, (split, names) in zip((0, 10, 20), MINI.items(), strict=True):
        images = np.stack([plain(start + i) for i in range(2 * len(names))])
        np.savez(folder / f"{split}.npz", images=images, labels=np.repeat(names, 2))


def mini() -> dict[str, Classes]:
    return imagenet("miniimagenet", MINI, each=2)


@pytest.mark.parametrize("place", [".", "cache/metarl"])
@pytest.mark.parametrize("write", [mini_folders, mini_arrays])
def test_miniimagenet_is_the_same_from_folders_and_arrays(
    here: Path, write: Callable[[Path], None], place: str
) -> None:
    write(here / place / "miniimagenet")
    splits = mini()
    assert {split: classes.names for split, classes in splits.items()} == {k: tuple(v) for k, v in MINI.items()}
    assert [levels(classes) for classes in splits.values()] == [[0, 1, 2, 3], [10, 11], [20, 21, 22, 23]]
    train = FewShotDataset("miniimagenet", splits).split("train")
    assert isinstance(train, Classes)
    assert (train.shape, train.samples.dtype, train.counts.tolist()) == ((3, 84, 84), torch.uint8, [2, 2])
    support = train.draw(EpisodeSpec(2, 1, 1), 1, torch.Generator()).support
    assert (support.inputs * 255 - 4).abs().max() <= 4  # from 0 to 1


def test_images_of_other_sizes_and_kinds_become_alike(here: Path) -> None:
    mini_folders(here / "miniimagenet")
    folder = here / "miniimagenet" / "train" / "n02"
    ramp = np.tile(np.arange(200, dtype=np.uint8), (50, 1))
    written(folder / "0.bmp", encoded(ramp, "jpeg"))  # grey, wide, and called otherwise than it is
    written(folder / "1.bmp", encoded(np.dstack([plain(7), np.zeros((84, 84), np.uint8)])))  # transparent
    train = mini()["train"].samples
    assert (train[0].float() - torch.linspace(0, 199, 84)).abs().max() < 3
    assert (train[1] == 255).all()


def test_what_cannot_be_decoded_is_left_out_counted_and_named(here: Path) -> None:
    mini_folders(here / "miniimagenet")
    folder = here / "miniimagenet"
    noise = np.random.default_rng(0).integers(0, 256, (84, 84, 3), np.uint8)
    written(folder / "train" / "n02" / "0.bmp", encoded(noise)[:3000])
    # Of the many other kinds that Pillow knows, with its helpers for some, none is tried.
    written(folder / "test" / "n04" / "1.bmp", encoded(plain(0), "ppm"))
    with (
        pytest.warns(UserWarning, match=r"1 images cannot be read and are left out: .*n02/0\.bmp"),
        pytest.warns(UserWarning, match=r"1 images cannot be read and are left out: .*n04/1\.bmp"),
        pytest.warns(UserWarning, match=r"1 classes have other than the 2 images published \(n02: 1\)"),
        pytest.warns(UserWarning, match=r"1 classes have other than the 2 images published \(n04: 1\)"),
    ):
        splits = mini()
    assert levels(splits["train"]) == [1, 2, 3]
    written(folder / "train" / "n02" / "1.bmp", b"nor this")
    with (
        pytest.warns(UserWarning, match="2 images cannot be read"),
        pytest.raises(MetaRLError, match=r"has 1 classes that can be read, of 2 published: 1 are missing \(n02\)"),
    ):
        mini()


def test_a_class_that_is_missing_or_in_another_split_is_refused(here: Path) -> None:
    folder = here / "miniimagenet"
    mini_folders(folder)
    (folder / "train" / "n01").rename(folder / "n01")
    with pytest.raises(MetaRLError, match=r"train has 1 classes .* 1 are missing \(n01\)"):
        mini()
    (folder / "n01").rename(folder / "test" / "n01")
    shutil.copytree(folder / "test" / "n01", folder / "train" / "n01")
    with pytest.raises(MetaRLError, match=r"test has 3 .* 1 are of another split \(n01\), which would be seen in"):
        mini()


def test_tieredimagenet_has_so_many_classes_and_numbers_start_anew_in_each_split(here: Path) -> None:
    sizes, folder = {"train": 2, "val": 1, "test": 1}, here / "tieredimagenet"
    folder.mkdir()
    for split, labels, start in (("train", [1, 0, 1], 0), ("val", [0, 0], 10), ("test", [0, 0], 20)):
        images = np.stack([plain(start + i) for i in range(len(labels))])
        np.savez(folder / f"{split}.npz", images=images, labels=np.array(labels))
    splits = imagenet("tieredimagenet", sizes)
    assert [classes.names for classes in splits.values()] == [("train 0", "train 1"), ("val 0",), ("test 0",)]
    assert [levels(classes) for classes in splits.values()] == [[1, 0, 2], [10, 11], [20, 21]]
    FewShotDataset("tieredimagenet", splits)
    with pytest.raises(MetaRLError, match=r"train\.npz has 2 classes that can be read, of 3 published"):
        imagenet("tieredimagenet", {**sizes, "train": 3})


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 80, 84, 3), np.uint8), ["n03", "n03"], r"images \(2, 80, 84, 3\) of uint8"),
        (np.zeros((2, 84, 84, 3)), ["n03", "n03"], "of float64"),
        (np.zeros((3, 84, 84, 3), np.uint8), ["n03", "n03"], r"labels \(2,\)"),
        (np.zeros((2, 84, 84, 3), np.uint8), [["n03"], ["n03"]], r"labels \(2, 1\)"),
        (np.zeros((2, 84, 84, 3), np.uint8), np.array(["n03", None], object), "Object arrays cannot be loaded"),
        (np.zeros((2, 84, 84, 3), np.uint8), ["n03", "owl"], r"1 are of another split \(owl\)"),
        (np.zeros((1400, 84, 84, 3), np.uint8), ["n03"] * 1400, r"images\.npy has 29,635,328 bytes"),
        (None, ["n03"], "is damaged .*images"),
    ],
)
def test_arrays_of_another_kind_are_refused(here: Path, images: Any, labels: Any, message: str) -> None:
    mini_arrays(here / "miniimagenet")
    given = {"labels": labels} if images is None else {"images": images, "labels": labels}
    np.savez_compressed(here / "miniimagenet" / "val.npz", **given)
    with pytest.raises(MetaRLError, match=message):
        mini()
    written(here / "miniimagenet" / "val.npz", (here / "miniimagenet" / "val.npz").read_bytes()[:100])
    with pytest.raises(MetaRLError, match=r"val\.npz is damaged"):
        mini()


def test_without_files_it_is_said_what_is_wanted_and_where_to_get_it(here: Path) -> None:
    wanted: dict[Callable[[], Any], tuple[str, ...]] = {
        mini: ("train.npz", "train/CLASS/", "image-net.org", "miniimagenet"),
        cifar_fs: (CIFAR_100, "no network", "METARL_DATA", "kriz/cifar-100"),
        cifar_10: ("cifar-10-binary.tar.gz", "no network", "METARL_DATA", "kriz/cifar-10"),
    }
    for read, words in wanted.items():
        with pytest.raises(MetaRLError) as error:
            read()
        for word in (*words, str(here)):
            assert word in str(error.value)


# --- CIFAR's two ---


def records(start: int, numbers: list[int], labels: int) -> bytes:
    """Images of one colour, each after so many bytes, the last of which is its class."""
    pictures = [plain(start + i, 32).transpose(2, 0, 1).tobytes() for i in range(len(numbers))]
    return b"".join(bytes([99] * (labels - 1) + [n]) + each for n, each in zip(numbers, pictures, strict=True))


def packed(members: dict[str, bytes], *others: tarfile.TarInfo) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for other in others:
            archive.addfile(other)
        for name, each in members.items():
            info = tarfile.TarInfo(f"folder/{name}")
            info.size = len(each)
            archive.addfile(info, io.BytesIO(each))
    return content.getvalue()


def cifar_100() -> dict[str, bytes]:
    """Five classes, the last of no split, two samples of each in train and one in test."""
    return {
        "fine_label_names.txt": b"ant\ncat\nelk\nowl\nyak\n",
        "train.bin": records(0, [3, 1, 4, 0, 2, 0, 1, 2, 3, 4], 2),
        "test.bin": records(50, [0, 1, 2, 3, 4], 2),
        "file.txt~": b"",
    }


def as_published(monkeypatch: pytest.MonkeyPatch, content: bytes, file: str = CIFAR_100) -> bytes:
    """Let an archive be the one whose checksum is known."""
    monkeypatch.setitem(published._MD5, file, hashlib.md5(content, usedforsecurity=False).hexdigest())
    return content


def fs_levels() -> list[list[int]]:
    return [levels(classes) for classes in cifar_fs().values()]


def test_cifar_100_is_fetched_once_and_read_without_unpacking(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = as_published(monkeypatch, packed(cifar_100(), tarfile.TarInfo("../../escaped")))
    asked = answers(monkeypatch, content)
    splits = cifar_fs()
    assert [classes.names for classes in splits.values()] == [("owl", "ant"), ("elk",), ("cat",)]
    assert fs_levels() == [[0, 8, 53, 3, 5, 50], [4, 7, 52], [1, 6, 51]]
    assert FewShotDataset("cifar-fs", splits).spec.shape == (3, 32, 32)
    assert splits["train"].scale == 1 / 255
    assert asked == [f"https://www.cs.toronto.edu/~kriz/{CIFAR_100}"]
    assert [each.name for each in here.rglob("*") if each.is_file()] == [CIFAR_100]


def test_a_download_that_breaks_off_or_is_another_file_is_not_kept(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = as_published(monkeypatch, packed(cifar_100()))
    answers(monkeypatch, content[:-100])
    with pytest.raises(MetaRLError, match=rf"{len(content) - 100:,} bytes, is partial or damaged: its MD5 is"):
        cifar_fs()
    answers(monkeypatch, http.client.IncompleteRead(b"", 100))
    with pytest.raises(MetaRLError, match=r"cannot be reached .*100 more expected.*Put cifar-100-binary"):
        cifar_fs()
    assert not (here / "cache").exists()
    asked = answers(monkeypatch, content)
    kept = written(here / "cifar100" / CIFAR_100, content[:-100])
    with pytest.raises(MetaRLError, match=r"cifar100/cifar-100-binary\.tar\.gz gave, .*partial or damaged"):
        cifar_fs()
    written(kept, content)
    assert fs_levels()[2] == [1, 6, 51]
    assert not asked  # for the archive was there


def test_an_archive_without_a_file_or_with_a_link_in_its_place_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, members = tarfile.TarInfo("folder/test.bin"), cifar_100()
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members.pop("test.bin")
    for content in (packed(members, link), packed(members), packed({**members, "test.bin": b"1"}), b"no archive"):
        written(here / "cifar100" / CIFAR_100, as_published(monkeypatch, content))
        with pytest.raises(MetaRLError, match=r"is damaged or lacks a file"):
            cifar_fs()


def test_cifar_10_is_in_splits_of_6_2_and_2(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    files = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    members = {file: records(10 * i, list(range(10)), 1) for i, file in enumerate(files)}
    content = packed({"batches.meta.txt": "\n".join([*names, ""]).encode(), **members})
    written(here / "cifar10" / "cifar-10-binary.tar.gz", as_published(monkeypatch, content, "cifar-10-binary.tar.gz"))
    splits = cifar_10()
    assert [name for classes in splits.values() for name in classes.names] == names
    assert [len(classes) for classes in splits.values()] == [6, 2, 2]
    assert levels(splits["test"]) == [8, 18, 28, 38, 48, 58, 9, 19, 29, 39, 49, 59]
