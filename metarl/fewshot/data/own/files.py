"""A data set by the path of a file or folder of one's own, and how it is read."""

from pathlib import Path

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.dataset import FewShotDataset
from metarl.fewshot.data.names import DataName
from metarl.fewshot.data.own.arrays import dataset_from_npz
from metarl.fewshot.data.own.dataset import dataset_from_table
from metarl.fewshot.data.own.pictures import dataset_from_pictures

_TABLES = (".csv", ".tsv", ".parquet")
_OF_PICTURES, _OF_TABLES = (
    {"size", "grey", "encoder"},
    {"text", "smiles", "label", "task", "columns", "split", "encoder"},
)


def is_own(name: DataName) -> bool:
    """Return whether a data set is called by the path of a file or folder of one's own."""
    suffix = Path(name.place).suffix.lower()
    return suffix in (*_TABLES, ".npz") or (Path(name.place).is_dir() and ":" not in name.place)


def own_dataset(name: DataName) -> FewShotDataset:
    """Return the data set of a file or folder; raise where it is missing or an option has no use there."""
    path, options = Path(name.place), {option: value for option, value in name.options.items() if value}
    allowed = _OF_TABLES if path.suffix.lower() in _TABLES else _OF_PICTURES if path.is_dir() else set[str]()
    if unused := sorted(set(options) - allowed):
        raise MetaRLError(
            f"{path} has no use for {', '.join(f'--{each}' for each in unused)}; there it may be "
            f"{', '.join(f'--{each}' for each in sorted(allowed)) or 'nothing more'}."
        )
    if path.is_dir():
        size = options.get("size")
        if size is not None and not size.isdecimal():
            raise MetaRLError(f"--size {size}: give the pixels of a side, such as 84.")
        return dataset_from_pictures(
            path,
            size=None if size is None else int(size),
            grey=options.get("grey") == "true",
            encoder=options.get("encoder", ""),
            name=str(name),
        )
    if path.suffix.lower() in _TABLES:
        columns = {"label": "", **options}
        return dataset_from_table(path, name=str(name), **columns)  # type: ignore[arg-type]  # none of them is the seed
    if not path.is_file():
        raise MetaRLError(
            f"There is no file {path}; give the path of a .csv, .tsv, .parquet or .npz file, or a folder."
        )
    return dataset_from_npz(path)
