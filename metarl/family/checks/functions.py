"""Checks of a family's functions one by one: what they return, what they leave alone, and where it lies."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarl.core.random import Domain, gymnasium_keys, uniforms
from metarl.family.base import TaskFamily
from metarl.family.checks.play import N_ENVS, Checks, Found, Subject, some_actions

RESERVED = ("task", "trial_start", "final_obs", "final_info")  # names that info has of itself


def functions(subject: Subject) -> Iterator[Found]:
    """A reset and a step return what the engine and a rollout need, the environment axis first."""
    if not subject.is_pure:
        yield from _of_batch(subject)
        return
    family: Any = subject.family
    task, u_reset, u_step, action = _inputs(subject)
    state = family.reset(task, u_reset)
    if problems := list(_of_state("reset", state, None)):
        yield from problems
        return
    yield from _of_observation(family, "What observe returns", family.observe(state, task))
    result = family.step(state, action, task, u_step)
    if not isinstance(result, tuple) or len(result) not in (3, 4):
        what = f"{len(result)} values" if isinstance(result, tuple) else f"a {type(result).__name__}"
        yield f"step returns {what}.", "Return state, reward, terminated, and a dict of named extras if there are any."
        return
    yield from _of_state("step", result[0], state)
    yield from _of_outcome("that step returns", result[1], {"terminated": result[2]}, *result[3:])


def _of_batch(subject: Subject) -> Iterator[Found]:
    """The same of an engine's batch, where a family has no functions of its own."""
    family, batch = subject.family, subject.batch(subject.tasks, gymnasium_keys(0, N_ENVS))
    yield from _of_observation(family, "The observation of the batch's reset", batch.reset(0))
    step = batch.step(subject.actions[0])
    yield from _of_observation(family, "The observation of the batch's step", step.observation)
    flags = {"terminated": step.terminated, "truncated": step.truncated}
    yield from _of_outcome("of the batch's step", step.reward, flags, step.extras)


def purity(subject: Subject) -> Iterator[Found]:
    """``reset``, ``observe`` and ``step`` leave what they are given as it is."""
    if not subject.is_pure:
        return
    family: Any = subject.family
    task, u_reset, u_step, action = _inputs(subject)
    yield from _unchanged("reset", lambda: family.reset(task, u_reset), {"task": task, "u": {"u": u_reset}})
    state = family.reset(task, u_reset)
    yield from _unchanged("observe", lambda: family.observe(state, task), {"state": state, "task": task})
    given = {"state": state, "task": task, "action": {"action": action}, "u": {"u": u_step}}
    yield from _unchanged("step", lambda: family.step(state, action, task, u_step), given)


def device(subject: Subject) -> Iterator[Found]:
    """Every tensor that the functions make lies on the device of what they are given."""
    if not subject.is_pure:
        return
    family: Any = subject.family
    task, u_reset, u_step, action = _inputs(subject, "meta")  # a device without data: it needs no GPU
    remedy = "Make constants with device=u.device, or from what is given: torch.zeros_like(x), x.new_zeros(n)."
    try:
        state = family.reset(task, u_reset)
        results = {"reset": state, "observe": {"observation": family.observe(state, task)}}
        stepped = family.step(state, action, task, u_step)
    except Exception as error:  # on the CPU nothing was raised
        if "device" in str(error) and "cpu" in str(error):
            yield f"Tensors of two devices meet: {str(error).splitlines()[0]}", remedy
        return  # Else it reads a tensor's values, which is allowed; it then cannot be followed without data.
    results["step"] = {**stepped[0], "reward": stepped[1], "terminated": stepped[2], **(dict(*stepped[3:]))}
    for method, values in results.items():
        wrong = [name for name, value in values.items() if value.device.type != "meta"]
        if wrong:
            yield f"{method} makes {', '.join(wrong)} on the CPU, whatever device it is given.", remedy


def _inputs(subject: Subject, device: str = "cpu") -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
    family, keys = subject.family, gymnasium_keys(0, N_ENVS)
    n_reset, n_step = family.draws  # type: ignore[attr-defined]
    u_reset = uniforms(keys, Domain.RESET, 0, 1, n_reset)[:, 0].to(device)
    u_step = uniforms(keys, Domain.STEP, 0, 1, n_step)[:, 0].to(device)
    return subject.tasks.tensors(device), u_reset, u_step, some_actions(family.action_space, 1, N_ENVS)[0].to(device)


def _of_tensor(what: str, value: Any, shape: tuple[int, ...] | None = None, dtypes: str = "") -> Iterator[Found]:
    """``shape`` ``None`` asks for the environment axis only; ``dtypes`` names the kinds that are right, if not all."""
    kinds = {"float32": value.dtype == torch.float32, "bool": value.dtype == torch.bool} if _is_tensor(value) else {}
    remedy = f"Return a {dtypes}{' ' if dtypes else ''}tensor {shape or '(n, ...)'}; here n = {N_ENVS} environments."
    if not _is_tensor(value):
        yield f"{what} is a {type(value).__name__}.", remedy
    elif (tuple(value.shape) != shape) if shape else value.shape[:1] != (N_ENVS,):
        yield f"{what} has shape {tuple(value.shape)}.", remedy
    elif dtypes and not kinds[dtypes]:
        yield f"{what} is {value.dtype}.", remedy


def _of_outcome(whose: str, reward: Any, flags: dict[str, Any], extras: Any = None) -> Iterator[Found]:
    yield from _of_tensor(f"The reward {whose}", reward, (N_ENVS,), "float32")
    for name, value in flags.items():
        yield from _of_tensor(f"The {name} {whose}", value, (N_ENVS,), "bool")
    named = {} if extras is None else extras
    if not isinstance(named, Mapping):
        yield f"The extras {whose} are a {type(named).__name__}.", "Return a dict of tensors by name."
        return
    for name, value in named.items():
        yield from _of_tensor(f"The extra {name!r} {whose}", value)
        if name in RESERVED:
            yield f"The extra {name!r} {whose} would hide what info has under that name.", "Give it another name."


def _of_state(method: str, state: Any, before: Mapping[str, Tensor] | None) -> Iterator[Found]:
    if not isinstance(state, Mapping) or not state:
        what = "an empty dict" if isinstance(state, Mapping) else f"a {type(state).__name__}"
        remedy = "Return a dict of tensors; if there is nothing to keep, one of zeros."
        yield f"The state that {method} returns is {what}.", remedy
        return
    if before is not None and set(before) != set(state):
        yield f"step returns the state {sorted(state)}, reset {sorted(before)}.", "Return the same names from both."
        return
    for name, value in state.items():
        yield from _of_tensor(f"state[{name!r}] that {method} returns", value)
        if before is not None and _is_tensor(value):
            old = before[name]
            if (value.shape, value.dtype) != (old.shape, old.dtype):
                now, then = (f"{tuple(v.shape)} {v.dtype}" for v in (value, old))
                yield f"state[{name!r}] is {then} after reset and {now} after step.", "Keep its shape and dtype."


def _of_observation(family: TaskFamily, what: str, value: Any) -> Iterator[Found]:
    integers = np.issubdtype(family.observation_space.dtype or np.float32, np.integer)
    yield from _of_tensor(what, value, (N_ENVS, *(family.observation_space.shape or ())), "" if integers else "float32")


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _unchanged(method: str, call: Callable[[], Any], given: dict[str, dict[str, Tensor]]) -> Iterator[Found]:
    before = {kind: {name: value.clone() for name, value in values.items()} for kind, values in given.items()}
    call()
    for kind, values in given.items():
        names = set(before[kind]) ^ set(values)
        names |= {n for n in set(values) - names if not torch.equal(values[n], before[kind][n])}
        if names:
            remedy = "Compute a new tensor instead: `x = x + a`, not `x += a`, and a new dict."
            what = kind if kind in names else f"{kind}[{', '.join(map(repr, sorted(names)))}]"
            yield f"{method} changes the {what} that it is given.", remedy


FUNCTIONS: Checks = {"functions": functions}
PURITY: Checks = {"purity": purity}
DEVICE: Checks = {"device": device}
