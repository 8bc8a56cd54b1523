"""Worlds of one MuJoCo model on mujoco-warp: their fields as torch tensors, and a control step as one CUDA graph."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mujoco
import mujoco_warp as mjw
import numpy as np
import torch
import warp as wp
from mujoco_warp import OverflowType
from torch import Tensor

from metarl.core.errors import MetaRLError
from metarl.envs.engine.model_fields import Fields, free_bytes
from metarl.envs.engine.physics import Data, MujocoDeclaration
from metarl.envs.engine.warp_contacts import align_with_capsules

wp.config.log_level = max(wp.config.log_level, wp.LOG_ERROR)  # else a line for each of a hundred modules

CONTACTS = 32  # allowed for in each world unless a family says otherwise
_HUGE = 1e10  # beyond which MuJoCo calls a position, a velocity or an acceleration unstable
_DERIVED = ("body_subtreemass", "body_invweight0", "dof_invweight0", "tendon_invweight0", "actuator_acc0")
# Too little room; what else is noted there says that a solver has stopped at its limit.
_TOO_MANY = (
    OverflowType.NEFC
    | OverflowType.NJMAX_NNZ
    | OverflowType.BROADPHASE
    | OverflowType.NARROWPHASE
    | OverflowType.CCD
    | OverflowType.HFIELD
)


class Worlds:
    """Copies of a family's model and its data, which mujoco-warp steps together.

    Args:
        family: whose model and fields they are.
        n: how many worlds.
        varied: the fields of the model that worlds have of their own; ``opt.NAME`` for an option.
        device: a CPU, or a GPU, on which a control step is captured as a graph.

    Raises:
        MetaRLError: the model, or a field, is beyond mujoco-warp, or the worlds do not fit into memory.
    """

    def __init__(self, family: MujocoDeclaration, n: int, varied: tuple[str, ...], device: torch.device) -> None:
        self.family, self.n, self.device = family, n, device
        self._graph: Any = None
        with self._here():
            check_worlds_fit(family, n, device)
            self._model, self._data = _model(family, n, varied), _data(family, n)
            usual = mujoco.MjData(family.model)
            self.fields: Data = {name: self._shared(name, np.shape(getattr(usual, name))) for name in family.fields}
            self.controls = wp.to_torch(self._data.ctrl)
            self.state = {name: wp.to_torch(getattr(self._data, name)) for name in ("qpos", "qvel", "act")}
            self._warm, self._acceleration = wp.to_torch(self._data.qacc_warmstart), wp.to_torch(self._data.qacc)
            self._overflow = wp.to_torch(self._data.overflow)
            self._own = {name: self._of_world(name) for name in varied}
        self._all = torch.ones(n, dtype=torch.bool, device=device)
        if device.type == "cuda":
            self._capture()

    def write(self, fields: Fields, rows: Tensor) -> None:
        """Write fields ``(len(rows), *shape)`` into the models of these worlds, which must then begin anew."""
        if not fields:
            return
        for name, value in fields.items():
            place = self._own[name]
            place[rows] = torch.as_tensor(value).to(self.device, place.dtype).reshape(len(rows), *place.shape[1:])
        kept = self._copies()
        with self._here():
            mjw.set_const(self._model, self._data, restore=False)
        for name, value in kept.items():
            self.fields[name].copy_(value)

    def begin(self, qpos: Tensor, qvel: Tensor, rows: Tensor | None) -> None:
        """Put all worlds, or those where ``rows`` is true, to a start; what others show stays as it is."""
        kept, mask = {} if rows is None else self._copies(), self._all if rows is None else rows
        with self._here():
            mjw.reset_data(self._model, self._data, wp.from_torch(mask))
            for name, value in (("qpos", qpos), ("qvel", qvel)):
                _put(self.state[name], value.to(self.state[name].dtype), mask)
            mjw.forward(self._model, self._data)
        if "cfrc_ext" in self.fields:
            self.fields["cfrc_ext"].zero_()  # as in Gymnasium: forces are known only after a step
        for name, value in kept.items():
            _put(self.fields[name], value, ~mask)

    def advance(self) -> None:
        """Take a control step in all worlds."""
        if self._graph is None:
            with self._here():
                self._control_step()
        else:
            wp.capture_launch(self._graph, stream=self._stream())

    def put_back(self, state: dict[str, Tensor], rows: Tensor) -> None:
        """Put the worlds where ``rows`` is true back to a state, from which nothing of theirs is remembered."""
        for name, value in state.items():
            _put(self.state[name], value, rows)
        self._warm.masked_fill_(rows[:, None], 0.0)

    def unstable(self) -> Tensor:
        """Return the worlds whose positions, velocities or accelerations are huge or no numbers, ``(world,)``."""
        # A comparison with what is no number is false.
        sound = [(value.abs() < _HUGE).all(1) for value in (*self.state.values(), self._acceleration)]
        return ~torch.stack(sound).all(0)

    def check_room(self) -> None:
        """Raise where a world had more contacts or constraints than were allowed for; this reads from the device."""
        too_many = int(((self._overflow & int(_TOO_MANY)) != 0).sum())
        if too_many:
            most = self.family.contacts or CONTACTS
            raise MetaRLError(
                f"{too_many} of {self.n} worlds of {self.family.name} had more contacts than the {most} a world that "
                f"the warp engine allowed for, and were not stepped right; set contacts = {2 * most} in the family."
            )

    def _control_step(self) -> None:
        for _ in range(self.family.frame_skip):
            mjw.step(self._model, self._data)
        if self.family.contact_forces:
            mjw.rne_postconstraint(self._model, self._data)

    def _capture(self) -> None:
        with self._here():
            self._control_step()  # modules are loaded outside of a capture
        wp.synchronize_device(wp.device_from_torch(self.device))
        with wp.ScopedCapture(wp.device_from_torch(self.device)) as capture:
            self._control_step()
        self._graph = capture.graph

    def _copies(self) -> Data:
        return {name: value.clone() for name, value in self.fields.items()}

    def _shared(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return a field of the data as a tensor of the same memory, in the shape that MuJoCo has it."""
        array = getattr(self._data, name, None)
        if not isinstance(array, wp.array) or wp.to_torch(array).numel() != self.n * int(np.prod(shape)):
            raise MetaRLError(f"{self.family.name} reads {name!r}, which mujoco-warp has not; use --engine mujoco.")
        tensor: Tensor = wp.to_torch(array).view(self.n, *shape)
        return tensor

    def _of_world(self, name: str) -> Tensor:
        """Return a field of the model, of each world its own."""
        owner, field = (self._model.opt, name[4:]) if name.startswith("opt.") else (self._model, name)
        array = getattr(owner, field, None)
        if not isinstance(array, wp.array):
            raise MetaRLError(f"{self.family.name}: mujoco-warp cannot vary {name!r} by world; use --engine mujoco.")
        if array.shape[0] != self.n:  # an option: put_model has one for all worlds
            array = wp.array(np.repeat(array.numpy(), self.n, 0), dtype=array.dtype)
            setattr(owner, field, array)
        tensor: Tensor = wp.to_torch(array)
        return tensor

    @contextmanager
    def _here(self) -> Iterator[None]:
        """Let warp compute where torch does, after what torch has been given there."""
        if self.device.type == "cpu":
            with wp.ScopedDevice("cpu"):
                yield
        else:
            with wp.ScopedStream(self._stream()):
                yield

    def _stream(self) -> Any:
        return wp.stream_from_torch(torch.cuda.current_stream(self.device))


def check_worlds_fit(family: MujocoDeclaration, n: int, device: torch.device) -> None:
    """Raise a MetaRLError where the data of n worlds take more memory than is free."""
    one, two = (_bytes(_data(family, k)) for k in (1, 2))
    each, there = two - one, free_bytes() if device.type == "cpu" else torch.cuda.mem_get_info(device)[0]
    if n * each > there:
        raise MetaRLError(
            f"{n:,} worlds of {family.name} take at least {n * each / 2**30:.1f} GiB, {there / 2**30:.1f} GiB are free "
            f"on {device}; make at most {there // each:,} at once."
        )


def _model(family: MujocoDeclaration, n: int, varied: tuple[str, ...]) -> Any:
    """Return mujoco-warp's model, with fields of n worlds, on its current device."""
    own = [name for name in varied if not name.startswith("opt.")]
    try:
        model = mjw.put_model(family.model, batch_sizes=dict.fromkeys((*own, *_DERIVED) if own else (), n))
    except (NotImplementedError, ValueError) as error:
        raise MetaRLError(f"{family.name}: mujoco-warp cannot step it ({error}); use --engine mujoco.") from error
    model.callback.contactfilter = align_with_capsules
    model.opt.warn_overflow = 0  # it is looked at afterwards; printing would not stop anything
    return model


def _data(family: MujocoDeclaration, n: int) -> Any:
    """Return mujoco-warp's data of n worlds, on its current device."""
    model, contacts = family.model, family.contacts or CONTACTS
    of_contact = 2 * (max(1, int(model.geom_condim.max(initial=1))) - 1)  # rows of a pyramid, the most there are
    rows = contacts * max(1, of_contact) + 2 * (model.njnt + model.ntendon) + model.nv + 6 * model.neq
    try:
        return mjw.make_data(model, n, nconmax=contacts, njmax=rows)
    except RuntimeError as error:  # how warp says that memory has run out
        raise MetaRLError(f"{n:,} worlds of {family.name} do not fit into memory ({error}); make fewer.") from error


def _bytes(data: Any) -> int:
    """Return the bytes of all arrays of a dataclass."""
    values = [getattr(data, field.name) for field in dataclasses.fields(data)]
    nested = sum(_bytes(value) for value in values if dataclasses.is_dataclass(value))
    return nested + sum(int(value.capacity) for value in values if isinstance(value, wp.array))


def _put(place: Tensor, value: Tensor, rows: Tensor | None) -> None:
    """Write values into a field, where ``rows`` is true or everywhere, without reading anything from the device."""
    if rows is not None:
        value = torch.where(rows.reshape(-1, *[1] * (place.ndim - 1)), value, place)
    place.copy_(value)
