"""Pickles of strangers: arrays come out of them, and nothing in them is run."""

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.pickles import read_pickle


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


class Hostile:
    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call, self.arguments


class Made:
    """An array with a state of one's own."""

    def __init__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        call, arguments, _ = np.zeros(1).__reduce__()
        return call, arguments, self.state


def test_a_pickle_that_would_run_code_is_refused_before_it_does(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    for each, name in (
        (Hostile(os.system, f"touch {proof}"), r"posix\.system"),
        (Hostile(eval, f"open({str(proof)!r}, 'w')"), r"\w+\.eval"),
        (Hostile(getattr, {}, "clear"), r"\w+\.getattr"),
        (Hostile(np.load, str(proof)), r"numpy\.load"),
        (tmp_path, r"pathlib\._?\w*Path"),
        (np.dtype, None),
    ):
        for protocol in (0, 2, 5):
            path = written(tmp_path / "hostile.pkl", pickle.dumps({"data": [each]}, protocol))
            if name is None:
                read_pickle(path)
                continue
            with pytest.raises(MetaRLError, match=rf"hostile\.pkl asks for {name}, which could run code"):
                read_pickle(path)
    assert not proof.exists()
    for content, message in (
        (b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.", "latin1, not as 'rot13'"),
        (b"cnumpy\ndtype\n(]tR.", r"dtype \[\] is none of plain numbers"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__call__\x93.", r"numpy\.dtype\.__call__, which could"),
    ):
        with pytest.raises(MetaRLError, match=message):
            read_pickle(written(tmp_path / "hostile.pkl", content))


def test_arrays_and_containers_come_out_as_they_were_written(tmp_path: Path) -> None:
    content = {
        "array": np.arange(6, dtype=">i2").reshape(2, 3),
        "turned": np.arange(6.0).reshape(2, 3).T,
        "words": np.array(["a", "bc"]),
        "objects": np.array([np.zeros(2), None], object),
        "number": np.int32(-3),
        "ordered": OrderedDict(a={1, 2}, b=frozenset([3])),
        "others": [range(3), 2j, bytearray(b"x"), b"\xff\x00", (True, None, 1.5)],
    }
    for protocol in range(6):
        written_as = pickle.dumps(content, protocol)
        found = read_pickle(written(tmp_path / "a.pkl", written_as))
        for key in ("array", "turned", "words", "number"):
            np.testing.assert_array_equal(found[key], content[key])
            assert type(found[key]) is type(content[key])
            assert found[key].dtype == pickle.loads(written_as)[key].dtype  # of the machine's byte order
        assert found["objects"][1] is None
        assert found["objects"][0].tolist() == [0, 0]
        assert found["ordered"] == content["ordered"]
        assert found["others"] == content["others"]
    nested = pickle.dumps({b"class_dict": {b"n01": [b"kept"]}, 3: 4})
    assert read_pickle(written(tmp_path / "a.pkl", nested)) == {"class_dict": {"n01": [b"kept"]}, 3: 4}


def holding_itself() -> dict[str, Any]:
    in_list: list[Any] = []
    in_list.append(in_list)
    in_dict: dict[str, Any] = {}
    in_dict["data"] = in_dict
    in_tuple: tuple[list[Any], ...] = ([],)
    in_tuple[0].append(in_tuple)
    wide: list[Any] = []
    wide += [wide] * 1000
    in_array = np.array([None, None], object)
    in_array[0] = [in_array]
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    doubled: Any = [0]
    for _ in range(18):
        doubled = [doubled, doubled]
    parts = (in_list, in_dict, in_tuple, wide, in_array, deep, doubled)
    return dict(zip(("list", "dict", "tuple", "wide", "array", "deep", "doubled"), parts, strict=True))


@pytest.mark.parametrize("name", holding_itself())
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_holds_itself_or_the_same_again_and_again_is_refused(name: str, protocol: int, tmp_path: Path) -> None:
    content = pickle.dumps({"data": holding_itself()[name]}, protocol)
    with pytest.raises(MetaRLError, match=r"a\.pkl is damaged or no pickle \(ValueError: it holds") as raised:
        read_pickle(written(tmp_path / "a.pkl", content))
    assert "\n" not in str(raised.value)


def test_what_is_held_twice_is_read_twice(tmp_path: Path) -> None:
    shared = [1, 2]
    assert read_pickle(written(tmp_path / "a.pkl", pickle.dumps([shared, shared]))) == [[1, 2], [1, 2]]


@pytest.mark.parametrize(
    "call", [Hostile(bytes, 10**12), Hostile(bytearray, 10**12), Hostile(list, range(10**12))], ids=["0", "1", "2"]
)
def test_a_few_bytes_ask_for_no_memory(call: Hostile, tmp_path: Path) -> None:
    with pytest.raises(MetaRLError, match=r"bytes of nothing|longer than"):
        read_pickle(written(tmp_path / "a.pkl", pickle.dumps(call, 4)))


def test_a_damaged_pickle_is_named(tmp_path: Path) -> None:
    whole = pickle.dumps({"data": np.arange(100), "names": ["a", "b"]}, 4)
    for length in range(0, len(whole), 9):
        with pytest.raises(MetaRLError, match=r"cut\.pkl is damaged or no pickle"):
            read_pickle(written(tmp_path / "cut.pkl", whole[:length]))
    with pytest.raises(MetaRLError, match=r"away\.pkl cannot be read"):
        read_pickle(tmp_path / "away.pkl")
    for array in (np.zeros(3, "M8[s]"), np.zeros(3, [("a", "i4")]), np.zeros(3, "V4")):
        with pytest.raises(MetaRLError, match=r"dtype '[MV]\d' is none of plain numbers"):
            read_pickle(written(tmp_path / "a.pkl", pickle.dumps(array, 2)))
    for shape, kind, content in (
        ((3,), "O", [1]),
        ((2,), "O", b"ab"),
        ((1,), "u1", [5]),
        ((-1, -2), "u1", b"ab"),
        ((2,), "i2", b"abc"),
    ):
        array = Made((1, shape, np.dtype(kind), False, content))
        with pytest.raises(MetaRLError, match=rf"{len(content)} items or bytes are no array \({shape[0]},"):
            read_pickle(written(tmp_path / "a.pkl", pickle.dumps(array, 2)))
