"""What pictures of a MuJoCo model show beside the model: the camera that takes them, and overlays for the task."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metarl.envs.drawing import Colour, History

Point = tuple[float, float]  # m, on the ground


@dataclass(frozen=True)
class Camera:
    """A camera that looks at a point from a distance, or at a body that it follows."""

    distance: float = 4.0  # m
    centre: tuple[float, float, float] = (0.0, 0.0, 0.6)  # m, the point looked at; with follows only its height counts
    azimuth: float = 90.0  # degrees; 90 looks along y, so that x points to the right
    elevation: float = -20.0  # degrees; -90 looks straight down
    follows: str | None = None  # name of the body whose place replaces the first two coordinates of the centre
    tile: float = 1.0  # m, side of the squares on the ground


@dataclass(frozen=True)
class Disc:
    """A disc on the ground that shows where the reward is."""

    centre: Point
    radius: float = 0.3  # m


@dataclass(frozen=True)
class Arrow:
    """An arrow on the ground in front of the followed body that shows the rewarded direction."""

    direction: Point  # a unit vector


@dataclass(frozen=True)
class Trail:
    """A line on the ground that shows where the body has been."""

    points: tuple[Point, ...]


@dataclass(frozen=True)
class Tint:
    """Another colour for one body."""

    body: str
    colour: Colour


Overlay = Disc | Arrow | Trail | Tint


def root_trail(history: History) -> Trail:
    """Return the trail of a model whose first two positions are its root's place in the plane."""
    return Trail(tuple((float(state["qpos"][0]), float(state["qpos"][1])) for state in history))


def direction_overlays(history: History, angle: ArrayLike) -> tuple[Trail, Arrow]:
    """Return the root's trail, and an arrow in the direction of an angle in rad, counted from the x axis."""
    return root_trail(history), Arrow((float(np.cos(angle)), float(np.sin(angle))))
