"""Pictures by a pretrained network of timm, frozen."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from metarl.core.errors import MetaRLError
from metarl.fewshot.features.base import Encoder, Features, optional
from metarl.fewshot.features.registry import register_encoder

_AT_ONCE = 32  # pictures


@register_encoder("timm")
class TimmEncoder(Encoder):
    """The features before the last layer of a network of timm (Wightman 2019), such as ``timm:resnet18``.

    Items are pictures ``(3, height, width)`` in bytes, which are resized to what the network takes. The weights come
    from the Hugging Face hub's cache, or are fetched into it.
    """

    def __init__(self, model: str = "") -> None:
        super().__init__(model)
        if not model:
            raise MetaRLError("The encoder timm needs the name of a network, such as timm:resnet18.")

    @property
    def identity(self) -> str:
        return f"timm:{self.model}"

    def __call__(self, items: Sequence[Any]) -> Features:
        network = self.load()
        about = network.pretrained_cfg
        size = tuple(about["input_size"][1:])
        mean, std = (torch.tensor(about[each]).view(3, 1, 1) for each in ("mean", "std"))
        made = []
        with torch.no_grad():
            for first in range(0, len(items), _AT_ONCE):
                images = torch.from_numpy(np.stack(items[first : first + _AT_ONCE])).float() / 255
                images = functional.interpolate(images, size, mode="bicubic", antialias=True).clamp(0, 1)
                made.append(network((images - mean) / std).flatten(1).numpy())
        return np.concatenate(made).astype(np.float32)

    def load(self) -> Any:
        """Return the network with its weights, or raise saying where they come from."""
        library = optional("timm", self.identity, "pip install timm torchvision")
        try:
            return library.create_model(self.model, pretrained=True, num_classes=0).eval()
        except Exception as error:  # of timm, of the hub or of the network between
            said = str(error).strip().partition("\n")[0]
            raise MetaRLError(
                f"The weights of {self.identity} are neither here nor can they be fetched ({said}): check the name by "
                "timm.list_models(pretrained=True), connect to a network once, or leave out --encoder."
            ) from error
