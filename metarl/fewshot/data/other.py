"""Another data set than that of training, with samples as a trained learner takes them."""

import warnings
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.dataset import DataSpec, FewShotDataset, TaskSource
from metarl.fewshot.data.episodes import Classes
from metarl.fewshot.data.names import DataName
from metarl.fewshot.data.own.files import is_own
from metarl.fewshot.data.registry import ENCODED, make_dataset

_AT_ONCE = 1000  # pictures that are resized
_GREY = (0.299, 0.587, 0.114)  # of red, green and blue, by ITU-R BT.601, as Pillow's mode L has it


def is_named(name: str, own: str) -> bool:
    """Return whether a name is that of a run's own data set ``own``, with no other options than it has."""
    asked, trained = DataName.parsed(name), DataName.parsed(own)
    return asked.place == trained.place and asked.options.items() <= trained.options.items()


def other_dataset(name: str, spec: DataSpec) -> FewShotDataset:
    """Make a data set for a learner that was trained on another, by the encoder that it was trained with.

    Pictures are resized, and made grey or coloured, where the learner takes others; a warning says so.

    Args:
        name: of the data set, as ``make_dataset`` takes it.
        spec: what the learner was made for.

    Raises:
        MetaRLError: where one has numbers to predict and the other classes, or the samples are of another modality, of
            another encoder, or of one that was fitted to other training items.
    """
    called = DataName.parsed(name)
    if spec.encoder and (called.place in ENCODED or (is_own(called) and not called.place.endswith(".npz"))):
        called = DataName(called.place, {"encoder": spec.encoder, **called.options})
    made = replace(make_dataset(str(called)), name=name)
    asked, other = ("numbers to predict" if outputs else "classes" for outputs in (spec.outputs, made.spec.outputs))
    if spec.outputs != made.spec.outputs:
        raise MetaRLError(f"{name} has {other}, and this learner was trained for {asked}; choose another data set.")
    if made.encoder != spec.encoder:
        raise MetaRLError(
            f"{name} has samples of {made.encoder or 'no encoder'}, and this learner was trained on those of "
            f"{spec.encoder or 'no encoder'}; choose a data set of the same modality and encoder."
        )
    if made.fitted != spec.fitted:
        raise MetaRLError(
            f"The encoder {spec.encoder} was fitted to the training items of each data set, so {name} has other vectors"
            " than this learner was trained on; train it with an encoder that is not fitted, such as minilm or morgan."
        )
    shape = made.spec.shape
    if shape == spec.shape:
        return made
    if min(len(shape), len(spec.shape)) < 2 or max(len(shape), len(spec.shape)) > 3:
        raise MetaRLError(
            f"{name} has samples of shape {shape}, and this learner takes {spec.shape}; choose a data set of the same "
            "modality."
        )
    warnings.warn(f"{name}: pictures of {_size(shape)} are made {_size(spec.shape)}.", stacklevel=2)
    return replace(made, splits={split: _redrawn(source, spec.shape) for split, source in made.splits.items()})


def _size(shape: tuple[int, ...]) -> str:
    """Return words for the shape of a picture."""
    return f"{shape[-2]} × {shape[-1]} in {'colour' if shape[:-2] == (3,) else 'grey'}"


def _redrawn(source: TaskSource, shape: tuple[int, ...]) -> TaskSource:
    """Return classes of pictures in another shape."""
    if not isinstance(source, Classes):
        raise MetaRLError(f"Only pictures of classes are resized; give samples of shape {shape}.")
    parts = [_resized(part.float() * source.scale, shape) for part in source.samples.split(_AT_ONCE)]
    return Classes(torch.cat(parts), source.counts, source.names)


def _resized(pictures: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return pictures ``(n, *shape)`` in another size, by linear interpolation, and other channels."""
    channels = shape[0] if len(shape) == 3 else 1
    made = pictures if pictures.ndim == 4 else pictures[:, None]
    if (made.shape[1], channels) == (3, 1):
        made = (made * made.new_tensor(_GREY)[:, None, None]).sum(1, keepdim=True)
    elif made.shape[1] not in (1, channels):
        raise MetaRLError(f"Pictures of {made.shape[1]} channels cannot be made such of {channels}; give others.")
    sized = functional.interpolate(made, shape[-2:], mode="bilinear", antialias=True)
    return sized.expand(-1, channels, -1, -1) if len(shape) == 3 else sized[:, 0]
