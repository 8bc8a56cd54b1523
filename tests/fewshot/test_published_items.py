"""CLINC150 and Tox21, read from small files of the same form."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from metarl.core.errors import MetaRLError
from metarl.fewshot.data import molecules, sentences
from metarl.fewshot.data.groups import Groups
from metarl.fewshot.data.registry import make_dataset


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def intents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CLINC150 of three sentences for each of 150 intents."""
    folder = tmp_path / "data" / "clinc150"
    (folder / "protaugment_splits").mkdir(parents=True)
    names = [f"intent_{i}" for i in range(150)]
    parts = {part: [[f"{part} words of {name}", name] for name in names] for part in ("train", "val", "test")}
    (folder / "data_full.json").write_text(json.dumps({**parts, "oos_test": [["what is this", "oos"]]}))
    for word, first in {"train": 0, "valid": 50, "test": 100}.items():
        listed = "\n".join(names[first : first + 50])
        (folder / "protaugment_splits" / f"01.{word}.txt").write_text(listed)
    monkeypatch.setenv("METARL_DATA", str(folder.parent))
    monkeypatch.setattr(sentences, "_MD5", md5(folder / "data_full.json"))
    return folder


def test_clinc150_is_split_by_intent_as_published(intents: Path) -> None:
    data = make_dataset("clinc150-01?encoder=ngrams")
    assert data.name == "clinc150-01?encoder=ngrams"
    assert data.split("val").names == tuple(f"intent_{i}" for i in range(50, 100))
    assert data.spec.classes == 50
    assert len(make_dataset("clinc150?encoder=ngrams").split("test").names) == 150
    assert sentences.clinc150(["oos_test"]) == {"oos": ["what is this"]}
    assert sentences.clinc150()["intent_7"][1] == "val words of intent_7"
    with pytest.raises(MetaRLError, match="clinc150-01 has no use for --label"):
        make_dataset("clinc150-01?label=intent")
    (intents / "protaugment_splits" / "01.test.txt").write_text("intent_100")
    with pytest.raises(MetaRLError, match=r"01\.test\.txt is partial or damaged"):
        make_dataset("clinc150-01?encoder=ngrams")


def test_a_domain_of_clinc150_is_left_out_of_training(intents: Path) -> None:
    domains = {name: [f"intent_{15 * i + j}" for j in range(15)] for i, name in enumerate(sentences.DOMAINS)}
    (intents / "domains.json").write_text(json.dumps(domains))
    data = make_dataset("clinc150-without-credit-cards?encoder=ngrams")
    assert data.split("test").names == tuple(domains["credit_cards"])
    assert data.spec.classes == 9 * 12
    assert data.split("val").names[:4] == ("intent_12", "intent_13", "intent_14", "intent_42")
    for damaged in ({**domains, "meta": ["intent_0"]}, {"banking": domains["banking"]}, [1]):
        (intents / "domains.json").write_text(json.dumps(damaged))
        with pytest.raises(MetaRLError, match=r"domains\.json is partial or damaged"):
            make_dataset("clinc150-without-meta?encoder=ngrams")


def test_tox21_tests_on_other_assays_and_perhaps_on_other_compounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rdkit", reason="RDKit is in the extra chem")
    path, random = tmp_path / "molecules" / "tox21.csv", np.random.default_rng(0)
    path.parent.mkdir()
    names = sorted({"".join(random.choice(list("CNO"), 7)) for _ in range(60)})
    rows = [",".join([name, *random.choice(["0", "1", ""], 12)]) for name in names]
    path.write_text("\n".join([",".join(["smiles", *molecules._ASSAYS]), *rows, "C1CC" + ",1" * 12]))
    monkeypatch.setenv("METARL_DATA", str(tmp_path))
    monkeypatch.setattr(molecules, "_MD5", md5(path))
    data, apart = make_dataset("tox21"), make_dataset("tox21-new-compounds?encoder=morgan")
    assert data.split("train").names == molecules._ASSAYS[:9]
    assert data.split("test").names == molecules._ASSAYS[9:]
    for source, shared in ((data, True), (apart, False)):
        train, test = source.split("train"), source.split("test")
        assert isinstance(train, Groups)
        assert isinstance(test, Groups)
        assert train.classes == ("inactive", "active")
        trained, tested = ({int(row) for task in part.tasks for row in task.rows} for part in (train, test))
        assert bool(trained & tested) == shared
    cells = [row.split(",") for row in rows]
    test = data.split("test")
    assert isinstance(test, Groups)
    assert [int(task.labels.sum()) for task in test.tasks] == [sum(c[i] == "1" for c in cells) for i in (10, 11, 12)]
    assert test.counts.tolist() == [sum(c[i] != "" for c in cells) for i in (10, 11, 12)]
