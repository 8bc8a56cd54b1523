"""Molecules, given as SMILES, by RDKit: Morgan fingerprints as bits or counts, and descriptors."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from metarl.core.errors import MetaRLError
from metarl.fewshot.features.base import Encoder, Features, optional
from metarl.fewshot.features.registry import register_encoder

_INSTALL = "pip install 'metarl-suite[chem]'"
_RADIUS, _BITS = 2, 2048  # bonds around an atom, as ECFP4 has them; the length of a fingerprint


class Molecules(Encoder):
    """An encoder of molecules that are given as SMILES; raises where RDKit cannot parse one."""

    def __init__(self, model: str = "") -> None:
        super().__init__(model)
        self.version = str(optional("rdkit", self.name, _INSTALL).__version__)

    def parsed(self, items: Sequence[Any]) -> list[Any]:
        """Return RDKit's molecules, or raise naming those that cannot be parsed."""
        found = parse_smiles(items)
        if wrong := [str(item) for item, molecule in zip(items, found, strict=True) if molecule is None]:
            raise MetaRLError(f"RDKit cannot parse {len(wrong)} molecules: {', '.join(wrong[:5])}; leave them out.")
        return found


@register_encoder("morgan")
class Morgan(Molecules):
    """Morgan fingerprints of radius 2 (Rogers and Hahn 2010): which substructures are there, 2048 bits."""

    counts = False

    def __call__(self, items: Sequence[Any]) -> Features:
        library = optional("rdkit.Chem.rdFingerprintGenerator", self.name, _INSTALL)
        made = library.GetMorganGenerator(radius=_RADIUS, fpSize=_BITS)
        of = made.GetCountFingerprintAsNumPy if self.counts else made.GetFingerprintAsNumPy
        return np.stack([of(each) for each in self.parsed(items)]).astype(np.float32)


@register_encoder("morgan-counts")
class MorganCounts(Morgan):
    """Morgan fingerprints of radius 2: how often each substructure is there, 2048 counts."""

    counts = True


@register_encoder("descriptors")
class Descriptors(Molecules):
    """RDKit's descriptors, such as weight and polar surface, standardised on the training molecules.

    A value that cannot be computed becomes the mean; one beyond five standard deviations becomes five.
    """

    def fit(self, items: Sequence[Any]) -> None:
        values = self._values(items)
        kept = np.isfinite(values)
        n = kept.sum(0).clip(1)
        mean = np.where(kept, values, 0).sum(0) / n
        spread = np.sqrt(np.where(kept, (values - mean) ** 2, 0).sum(0) / n)
        self.fitted = {"mean": mean.tolist(), "spread": np.where(spread > 0, spread, 1).tolist()}

    def __call__(self, items: Sequence[Any]) -> Features:
        values = self._values(items)
        mean, spread = (np.array(self.fitted[name]) for name in ("mean", "spread"))
        return np.where(np.isfinite(values), (values - mean) / spread, 0).clip(-5, 5).astype(np.float32)

    def _values(self, items: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
        library = optional("rdkit.Chem.Descriptors", self.name, _INSTALL)
        rows = [list(library.CalcMolDescriptors(each, missingVal=np.nan).values()) for each in self.parsed(items)]
        values = np.array(rows, np.float64)
        return np.where(np.abs(values) < 1e9, values, np.nan)


def parse_smiles(items: Sequence[str]) -> list[Any]:
    """Return RDKit's molecule of each SMILES, or None where it cannot be parsed; RDKit prints nothing of it."""
    chem = optional("rdkit.Chem", "of molecules", _INSTALL)
    with optional("rdkit.rdBase", "of molecules", _INSTALL).BlockLogs():
        found = [chem.MolFromSmiles(each) for each in items]
    return [each if each is not None and each.GetNumAtoms() else None for each in found]
