"""Tox21 (Huang et al. 2016): 12 assays, each of which says of some compounds whether they are active."""

import warnings

import numpy as np
import torch

from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.encoded import encoded_groups
from metarl.fewshot.data.own.items import read_items
from metarl.fewshot.data.reader import file_of

_TOX21 = "https://raw.githubusercontent.com/chemprop/chemprop/b83635bcddaddcdb91d453128edec9f2be0d25cf/data/tox21.csv"
_MD5 = "f2a663332081105ccc2e11a84e136724"
_ASSAYS = (
    *("NR-AR", "NR-AR-LBD", "NR-AhR", "NR-Aromatase", "NR-ER", "NR-ER-LBD", "NR-PPAR-gamma", "SR-ARE", "SR-ATAD5"),
    *("SR-HSE", "SR-MMP", "SR-p53"),
)
_TRAINED = 9  # of the assays, as PAR and its predecessors have it (Wang et al. 2021)


def tox21(name: str, encoder: str, *, new_compounds: bool = False) -> FewShotDataset:
    """Return Tox21, the first nine assays to train on and the last three to test on.

    The 8 of 7,831 compounds that RDKit cannot parse are left out.

    Args:
        name: of the data set.
        encoder: turns molecules into vectors.
        new_compounds: whether test tasks have one half of the compounds and training tasks the other, by chance. Nearly
            all compounds are in every assay: without those of the test assays training would have 130 of 7,831.
    """
    path = file_of("molecules", "tox21.csv", _TOX21, _MD5)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # that some cannot be parsed is known
        items = read_items(path, {"smiles": "smiles", "label": ",".join(_ASSAYS)})
    tested = np.random.Generator(np.random.Philox(key=0)).random(len(items.values)) < 0.5
    splits: dict[str, dict[str, tuple[np.ndarray[tuple[int], np.dtype[np.int64]], torch.Tensor]]] = {}
    for i, assay in enumerate(_ASSAYS):
        split = "train" if i < _TRAINED else "test"
        labels = np.array(items.labels[assay])
        kept = (labels != "") & ((tested == (split == "test")) | (not new_compounds))
        rows = np.flatnonzero(kept)
        splits.setdefault(split, {})[assay] = rows, torch.from_numpy((labels[rows] == "1").astype(np.int64))
    return encoded_groups(name, items.values, splits, ("inactive", "active"), encoder)
