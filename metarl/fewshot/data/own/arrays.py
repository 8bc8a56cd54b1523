"""A data set from an ``.npz`` file of features made elsewhere."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.dataset import FewShotDataset, split_by_chance
from metarl.fewshot.data.groups import groups_by_split
from metarl.fewshot.data.own.table import lines_of
from metarl.fewshot.data.reader import UNREADABLE

_FEW = 2  # values of labels that are numbers, up to which they are classes of a task


def dataset_from_npz(path: Path, seed: int = 0) -> FewShotDataset:
    """Make a data set of the arrays ``features`` ``(n, ...)`` and ``labels`` ``(n,)``, and of ``tasks`` ``(n,)``.

    Samples with NaN are left out. With ``tasks``, each of them has its own labels; without, tasks are drawn of classes.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except UNREADABLE as error:
        raise MetaRLError(
            f"{path} is damaged or no .npz of plain arrays ({error}); write it by numpy.savez."
        ) from error
    if not {"features", "labels"} <= set(arrays):
        raise MetaRLError(f"{path} holds {', '.join(arrays) or 'nothing'}; it needs features (n, ...) and labels (n,).")
    samples, labels = arrays["features"], arrays["labels"]
    tasks = arrays.get("tasks")
    if samples.dtype.kind not in "biuf" or any(
        each.shape != samples.shape[:1] for each in (labels, tasks) if each is not None
    ):
        raise MetaRLError(f"{path}: features {samples.shape} of {samples.dtype} need labels, and tasks, of ({'n'},).")
    finite = np.isfinite(samples.reshape(len(samples), -1)).all(1)
    if labels.dtype.kind == "f":
        finite &= np.isfinite(labels)
    if not finite.all():
        rows = (np.flatnonzero(~finite) + 1).tolist()
        warnings.warn(
            f"{path}: {len(rows)} of {len(finite)} samples hold NaN or infinity and are left out: "
            f"{lines_of(rows).replace('line', 'row')}.",
            stacklevel=2,
        )
    samples, labels = samples[finite], labels[finite]
    if tasks is None:
        known = sorted(map(str, np.unique(labels)))
        splits = split_by_chance(known, seed, 2)
        return FewShotDataset.from_arrays(samples, labels.astype(str), splits=splits, name=str(path))
    return _grouped(path, samples.astype(np.float32), labels, tasks[finite], seed)


def _grouped(
    path: Path, samples: NDArray[np.float32], labels: NDArray[Any], tasks: NDArray[Any], seed: int
) -> FewShotDataset:
    known, which = np.unique(labels, return_inverse=True)
    numbers = known.dtype.kind in "iuf" and len(known) > _FEW
    values = labels.astype(np.float32) if numbers else which
    splits = split_by_chance([str(task) for task in np.unique(tasks)], seed, 1)
    classes = () if numbers else tuple(map(str, known))
    return FewShotDataset(str(path), groups_by_split(samples, values, tasks.astype(str), splits, classes))
