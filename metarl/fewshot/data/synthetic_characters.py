"""Synthetic characters: a class is a few curved strokes, a sample one drawing of them by an unsteady hand."""

import numpy as np
from numpy.typing import NDArray

_SIDE, _POINTS = 28, 48  # pixels; points along a stroke, so many that they lie side by side
_SHAKE, _TILT, _MOVE = 0.035, 0.18, 0.05  # of a point, in radians, of the whole


def stroke_classes(classes: int, samples: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw images ``(class, sample, 28, 28)``, ink 1.

    Every class depends on ``seed`` and its own number alone, whichever classes follow.
    """
    t = np.linspace(0, 1, _POINTS)[:, None]
    bend = np.concatenate([(1 - t) ** 2, 2 * t * (1 - t), t**2], 1)  # of quadratic Bézier curves
    made = np.zeros((classes, samples, _SIDE, _SIDE), np.uint8)
    which = np.arange(samples)[:, None]
    for i in range(classes):
        random = np.random.Generator(np.random.Philox(key=[seed, i]))
        count = 2 + int(3 * random.random())
        # Uniforms alone, for what NumPy makes of them otherwise changes by version.
        anchors = 0.15 + 0.7 * random.random((count, 3, 2))
        shaken = anchors + _SHAKE * _spread(random.random((samples, count, 3, 2)))
        angle = _TILT * _spread(random.random((samples, 1)))[..., 0]
        turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1).reshape(-1, 1, 2, 2)
        points = (bend @ shaken).reshape(samples, -1, 2) - 0.5
        points = (points[:, :, None] @ turn)[:, :, 0] + 0.5 + _MOVE * _spread(random.random((samples, 1, 2)))
        row, column = np.moveaxis((points * _SIDE).astype(np.int64).clip(0, _SIDE - 2), -1, 0)
        for right in (0, 1):  # a pen two pixels wide
            made[i, which, row, column + right] = 1
    return made


def _spread(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stretch uniforms from (0, 1) to (-√3, √3), where their variance is 1."""
    return np.asarray((2 * u - 1) * 3**0.5)
