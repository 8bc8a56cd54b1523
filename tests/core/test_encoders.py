"""Observations as features: the field's convolutional networks for images, any module, and shapes that do not fit."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from metarl.core.encoders import Convolutional, ObservationEncoder, is_image
from metarl.core.errors import MetaRLError


def image(*shape: int) -> Box:
    return Box(0, 255, shape, np.uint8)


def test_images_are_boxes_of_three_dimensions_from_0_to_255() -> None:
    assert is_image(image(7, 7, 3))
    assert not is_image(image(7, 7))
    assert not is_image(Box(0, 1, (7, 7, 3), np.float32))


@pytest.mark.parametrize(
    ("shape", "n_features", "n_numbers"),
    # Mnih et al. 2015: 84 × 84 × 4 → 20 × 20 × 32 → 9 × 9 × 64 → 7 × 7 × 64 → 512; 7 × 7 × 3 → 4 × 4 × 64 → 128.
    [
        ((4, 84, 84), 512, 8 * 8 * 4 * 32 + 32 + 4 * 4 * 32 * 64 + 64 + 9 * 64 * 64 + 64 + 3136 * 512 + 512),
        ((84, 84, 4), 512, 8 * 8 * 4 * 32 + 32 + 4 * 4 * 32 * 64 + 64 + 9 * 64 * 64 + 64 + 3136 * 512 + 512),
        ((7, 7, 3), 128, 4 * 3 * 16 + 16 + 4 * 16 * 32 + 32 + 4 * 32 * 64 + 64 + 1024 * 128 + 128),
    ],
)
def test_the_default_networks_have_the_shapes_of_the_field(
    shape: tuple[int, ...], n_features: int, n_numbers: int
) -> None:
    encoder = ObservationEncoder(image(*shape))
    assert encoder.n_features == n_features
    params = encoder.init(torch.Generator().manual_seed(0))
    assert sum(value.numel() for value in params.values()) == n_numbers
    assert all(name.startswith("encoder.network.") for name in params)


def test_channels_first_and_last_give_the_same_features() -> None:
    first, last = (ObservationEncoder(image(*shape)) for shape in ((3, 7, 7), (7, 7, 3)))
    params = first.init(torch.Generator().manual_seed(0))
    seen = torch.randint(0, 256, (2, 5, 3, 7, 7)).float()
    features = first(params, first.flat(seen))
    assert features.shape == (2, 5, 128)
    torch.testing.assert_close(features, last(params, last.flat(seen.movedim(2, -1))))
    assert first.flat(seen).max() <= 1
    stacked = {name: torch.stack([value, 2 * value]) for name, value in params.items()}
    torch.testing.assert_close(first(stacked, first.flat(seen))[0], features[0])
    assert not torch.allclose(first(stacked, first.flat(seen))[1], features[1])


@pytest.mark.parametrize("shape", [(3, 3, 3), (9, 2, 3)])
def test_an_image_that_is_too_small_is_refused_with_its_shape_and_what_is_allowed(shape: tuple[int, ...]) -> None:
    with pytest.raises(MetaRLError, match=r"of shape \(., ., 3\): .* at least 4 × 4 pixels.*module:Name") as caught:
        ObservationEncoder(image(*shape))
    assert "\n" not in str(caught.value)


def test_other_shapes_than_images_need_a_name() -> None:
    encoder = ObservationEncoder(Box(-1, 1, (5, 2), np.float32))
    assert encoder.n_features == 10
    assert encoder.module is None
    with pytest.raises(MetaRLError, match=r"of shape \(5, 2\)"):
        Convolutional((5, 2))
