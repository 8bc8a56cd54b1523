"""Checks before anything is stepped: what tasks may write into a MuJoCo model, and how many models fit into memory."""

import os
from pathlib import Path

import mujoco
import numpy as np
from mujoco.batch import MODEL_FIELDS
from mujoco.batch import Batch as Simulations
from numpy.typing import NDArray

from metarl.core.errors import MetaRLError
from metarl.envs.engine.physics import MujocoDeclaration, closest

_POSITIVE = ("body_mass", "body_inertia")  # of every body that has any
_BYTES = 8  # of one of MuJoCo's numbers
_ARENA = 1 << 17  # bytes that contacts take of a simulation's own MjData


Fields = dict[str, NDArray[np.float64]]


def check_fields(family: MujocoDeclaration, fields: Fields, n: int) -> None:
    """Check the fields of the model that tasks set, each ``(n, *shape)``.

    Raises:
        MetaRLError: a field cannot vary, has the wrong shape, is not finite, or is a mass or inertia of 0 or less.
    """
    for name, value in fields.items():
        _check(family, name, value, n)


def write_fields(simulations: Simulations, fields: Fields, ids: NDArray[np.int64]) -> None:
    """Write fields ``(len(ids), *shape)`` into the models of these simulations, and update what MuJoCo derives."""
    if not fields:
        return
    for name, value in fields.items():
        simulations.expand(name)[ids] = value
    simulations.set_const(ids)


def _check(family: MujocoDeclaration, name: str, value: NDArray[np.float64], n: int) -> None:
    where = f"{family.name}: physics() sets {name!r}"
    if name not in MODEL_FIELDS:
        hint = closest(name, MODEL_FIELDS, "mujoco.batch.MODEL_FIELDS")
        raise MetaRLError(f"{where}, which is no field of the model that can vary by simulation; {hint}")
    base = family.constant(name, np.empty(0))
    if tuple(value.shape) != (n, *base.shape):
        raise MetaRLError(
            f"{where} with shape {tuple(value.shape)}; return one {tuple(base.shape)} for each of {n} environments, "
            f"{(n, *base.shape)}."
        )
    if not np.isfinite(value).all():
        raise MetaRLError(f"{where} to numbers that are not finite; bound the task parameters.")
    # A mass of the model's own may be zero, as the world's is.
    if name in _POSITIVE and ((value <= 0) & (base > 0)).any():
        row, *element = np.argwhere((value <= 0) & (base > 0))[0].tolist()
        raise MetaRLError(
            f"{where} to {float(value[row, *element]):.4g} (environment {row}, element {element}); masses and inertias "
            "must be positive: bound the task parameters."
        )


def check_fits_memory(family: MujocoDeclaration, n: int) -> None:
    """Raise a MetaRLError where n simulations would take more memory than is free."""
    model = family.model
    data = mujoco.MjData(model)
    numbers = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_INTEGRATION.value)
    numbers += sum(2 * int(np.size(getattr(data, name))) for name in family.fields)  # MuJoCo's, and those kept of it
    each = _BYTES * numbers
    if family.contact_forces:
        each += data.nbuffer + _ARENA
    if n * each > (there := free_bytes()):
        raise MetaRLError(
            f"{n:,} simulations of {family.name} take {n * each / 2**30:.1f} GiB, {there / 2**30:.1f} GiB are free; "
            f"make at most {there // each:,} at once."
        )


def free_bytes() -> int:
    """Return the bytes that can be had without swapping where the system says so, else all that there are."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 62
