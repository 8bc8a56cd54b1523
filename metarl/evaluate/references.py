"""Reference players on the very tasks that agents are scored on: as floor and optimum, and as rows beside agents."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.errors import MetaRLError
from metarl.evaluate.driver import adaptation_curve
from metarl.evaluate.scores import Evaluation
from metarl.family.base import TaskFamily
from metarl.family.players import player_returns, told
from metarl.learner import Params
from metarl.tasks import Tasks

_EPISODES = 32  # of the floor and the optimum on each task; their noise is then small beside the agents'
_MOST_EPISODES = 32_000  # on all tasks together, for on very many tasks the noise is averaged away
_CHUNK = 5000  # tasks played at once


def reference_returns(family: TaskFamily, player: str | None, tasks: Tasks) -> NDArray[np.float64] | None:
    """Mean return of a player's first episode on each task, ``(task,)``; None for no player."""
    if player is None:
        return None
    repeats = min(_EPISODES, max(1, _MOST_EPISODES // len(tasks)))
    # A seed for each chunk, or its random streams would be those of the first.
    parts = [
        player_returns(family, player, tasks[first : first + _CHUNK], repeats=repeats, seed=first).mean(1)
        for first in range(0, len(tasks), _CHUNK)
    ]
    return np.concatenate(parts)


def check_players(names: Sequence[str], family: TaskFamily) -> None:
    """Raise for names that are not players of the family, with those that are."""
    known = family.players()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise MetaRLError(
            f"{family.name} has no player {', '.join(map(repr, unknown))}; it has {', '.join(known) or 'none'}."
        )


def player_evaluations(
    names: Sequence[str],
    evaluations: Sequence[Evaluation],
    family: TaskFamily,
    tasks: Tasks,
    device: torch.device | str = "cpu",
) -> list[Evaluation]:
    """What a family's players earn on the tasks of some agents' evaluations, after as many episodes as the agents.

    They are played by the agents' own driver, as the online learners that they are; nothing is known of seeds.
    """
    check_players(names, family)
    like = evaluations[0]
    wanted = sorted({count for each in evaluations for count in each.episodes})
    lasting = copy(family)
    lasting.episodes_per_trial = wanted[-1] + 1  # Gittins plans for as many pulls as there are
    players = lasting.players()

    def params(tasks: Tasks) -> Params:
        return {name: value.to(device) for name, value in told(tasks).items()}

    found = []
    for name in dict.fromkeys(names):
        curve = adaptation_curve(
            players[name], params, family, tasks, points=wanted[-1] + 1, device=device, deterministic=False
        )
        found.append(
            replace(
                like,
                agent=f"{name} (player)",
                seeds=(0,),
                episodes=tuple(wanted),
                adaptations=tuple(wanted),
                returns=curve.returns[None, wanted],
                returns_deterministic=None,
                steps=0,
                wall_seconds=0.0,
                extra={},
                trial=wanted == list(range(len(wanted))),
                player=True,
            )
        )
    return found
