"""Checkpoints and sealed files: whatever is damaged is found, and nothing is loaded from it."""

import json
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from metarl.core.checked_json import seal, unseal
from metarl.core.checkpoint import checkpoint_checksum, load_checkpoint, save_checkpoint
from metarl.core.errors import MetaRLError

TENSORS = {
    "params.weight": torch.tensor([[1.5, -2.0], [0.25, 3.0]]),
    "params.bias": torch.tensor([0.5, 1.0]),
    "training.step": torch.tensor(7),
    "training.done": torch.tensor([True, False, True]),
    "training.half": torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
    "training.none": torch.zeros(0, 3),
}
ABOUT = {"seed": 3, "config": {"gamma": 0.99}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "a.safetensors", TENSORS, ABOUT)
    return tmp_path / "a.safetensors"


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[k].dtype == other[k].dtype and torch.equal(one[k], other[k]) for k in one
    )


def test_every_type_and_shape_comes_back(path: Path) -> None:
    tensors, about = load_checkpoint(path)
    assert same(tensors, TENSORS)
    assert about == ABOUT


def test_any_changed_byte_is_refused_or_changes_nothing(path: Path) -> None:
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        for change in (1, 0x80):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :])
            try:
                tensors, about = load_checkpoint(path)
            except MetaRLError:
                refused += 1
            else:
                assert same(tensors, TENSORS)
                assert about == ABOUT
    # What is no matter is the padding behind the header.
    assert refused > 1.9 * len(whole)


def test_what_is_cut_or_has_something_behind_it_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for damaged in (*(whole[:length] for length in range(0, len(whole), 7)), whole + b"\0", whole + whole):
        path.write_bytes(damaged)
        with pytest.raises(MetaRLError, match=r"is damaged or no metarl checkpoint .*restore it or train anew"):
            load_checkpoint(path)


def test_tensors_that_change_places_are_refused(path: Path, tmp_path: Path) -> None:
    # A file that is sound in itself, with the checksum of another.
    import safetensors.torch

    metadata = {"about": json.dumps(ABOUT), "sha256": checkpoint_checksum(path)}
    swapped = {**TENSORS, "params.bias": TENSORS["params.bias"].flip(0)}
    (tmp_path / "b.safetensors").write_bytes(safetensors.torch.save(swapped, metadata=metadata))
    with pytest.raises(MetaRLError, match="checksum does not fit"):
        load_checkpoint(tmp_path / "b.safetensors")


def test_a_file_without_a_checksum_says_so(tmp_path: Path) -> None:
    import safetensors.torch

    (tmp_path / "b.safetensors").write_bytes(safetensors.torch.save(TENSORS, metadata={"about": "{}"}))
    for load in (load_checkpoint, checkpoint_checksum):
        with pytest.raises(MetaRLError, match="lacks sha256, and so may be of an older version"):
            load(tmp_path / "b.safetensors")


def test_modes_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_checkpoint(tmp_path / "b.safetensors", TENSORS, ABOUT)
    finally:
        os.umask(before)
    assert (tmp_path / "b.safetensors").stat().st_mode & 0o777 == 0o640


def test_sealed_text_is_json_and_any_change_of_it_is_found() -> None:
    text = json.dumps({"name": "Größe", "values": [1.5, None]}, indent=2)
    sealed = seal(text)
    assert unseal(sealed, "mend it") == text
    assert set(json.loads(sealed)) == {"sha256", "name", "values"}
    for place in range(len(sealed)):
        changed = sealed[:place] + chr(ord(sealed[place]) ^ 1) + sealed[place + 1 :]
        with pytest.raises(MetaRLError, match=r"; mend it$"):
            unseal(changed, "mend it")
    for damaged in (sealed[:-1], sealed + " ", "", text):
        with pytest.raises(MetaRLError, match=r"; mend it$"):
            unseal(damaged, "mend it")
    for nothing in ("[1]", "{}", "{ }"):
        with pytest.raises(MetaRLError, match="Only the text of a JSON object"):
            seal(nothing)
