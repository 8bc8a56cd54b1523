"""Tasks of MuJoCo environments that are given and not begun, on either engine."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from metarl.envs.engine.model_fields import check_fields
from metarl.envs.engine.physics import MujocoDeclaration
from metarl.tasks import Tasks


class TaskChanges:
    """What the batches of both engines share: tasks wait for the next reset of their environments."""

    family: MujocoDeclaration
    _next: dict[str, NDArray[Any]]  # the tasks' values from the next reset on
    _waiting: NDArray[np.bool_]  # (environment,) whose task begins then

    def set_tasks(self, tasks: Tasks, rows: Tensor) -> None:
        """Give the environments where ``rows`` ``(environment,)`` is true the task of that row, from their next reset.

        Raises:
            MetaRLError: the model cannot be as a task says; nothing has then changed.
        """
        ids = np.flatnonzero(rows.cpu().numpy())
        new = {name: value[ids] for name, value in tasks.values.items()}
        check_fields(self.family, self.family.physics(new), len(ids))
        for name, value in self._next.items():
            value[ids] = new[name]
        self._waiting[ids] = True
