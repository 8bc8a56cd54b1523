"""What a spectator of a MuJoCo model is shown beside it, in metres: from where, and the marks of the task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from metarl.envs.drawing import Colour

Place = tuple[float, float]
History = Sequence[Mapping[str, NDArray[Any]]]  # qpos and qvel of an episode so far


@dataclass(frozen=True)
class View:
    """A camera that looks at a point from a distance. With ``follows`` the point moves along with that body.

    ``azimuth`` 90 looks along y, so that x is to the right; ``elevation`` -90 looks down.
    """

    distance: float = 4.0
    centre: tuple[float, float, float] = (0.0, 0.0, 0.6)  # with follows, of the body's place only the height is read
    azimuth: float = 90.0
    elevation: float = -20.0  # degrees
    follows: str | None = None
    tile: float = 1.0  # side of the ground's squares


@dataclass(frozen=True)
class Spot:
    """A disc on the ground, where the reward is."""

    at: Place
    radius: float = 0.3


@dataclass(frozen=True)
class Heading:
    """An arrow on the ground in front of the body that the camera follows: which way the reward is."""

    towards: Place  # a unit vector


@dataclass(frozen=True)
class Way:
    """A line on the ground: where the body has been."""

    points: tuple[Place, ...]


@dataclass(frozen=True)
class Tint:
    """A body in another colour."""

    body: str
    colour: Colour


Mark = Spot | Heading | Way | Tint


def way(history: History) -> Way:
    """Where the root of a model has been whose first two positions are its place."""
    return Way(tuple((float(state["qpos"][0]), float(state["qpos"][1])) for state in history))
