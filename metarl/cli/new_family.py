"""The command ``metarl new-family``, which writes a family of an environment for its user to go on from."""

import inspect
import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from metarl.cli.base import Command, show
from metarl.cli.options import Option
from metarl.core.errors import MetaRLError

_STEPS = 40  # of the episode that shows whether a parameter changes anything
_FACTOR = 1.5  # by which a parameter is changed for that, and half the width of what is proposed
_TIME_STEPS = ("dt", "tau")
_NO_LIMIT = 200  # horizon of an environment that has none

_SOURCE = '''"""A family of {env}, written by `metarl new-family`: choose what differs between tasks, and its ranges.

A number that the environment computed from another when it was made is not computed anew: then write set_task.
If this file is mine.py, `metarl check mine:{id}` checks it and `metarl train rl2 mine:{id}` trains on it.
"""

{imports}from metarl import GymnasiumFamily, TaskSpace, Uniform, register_family


@register_family("{id}")
class {name}(GymnasiumFamily):
    """{env} on tasks that differ in what an agent cannot see."""

{declared}    episodes_per_trial = 2  # how many an agent with a memory has on a task
    tasks = TaskSpace(
        {chosen}
{others}    )
{method}'''


@dataclass(frozen=True, kw_only=True)
class NewFamily(Command):
    """Write a family of a Gymnasium environment: metarl new-family Pendulum-v1 > mine.py."""

    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """an id of gymnasium.make, or module:id"""
    json: Option[bool] = False
    """print the source as JSON"""

    def run(self, command: str) -> None:
        source = family_source(self.env)
        show(self.json, {"env": self.env, "source": source}, source.rstrip())


def family_source(env_id: str) -> str:
    """Return the source of a family of an environment, its numeric attributes or arguments as task parameters.

    Raises:
        MetaRLError: there is no such environment, it cannot be a family, or it has no number that changes an episode.
    """
    import numpy as np
    from gymnasium.spaces import Box

    from metarl.core.spaces import flat_box
    from metarl.family import family_ids

    if env_id in family_ids():
        raise MetaRLError(f"{env_id} is a family already: metarl train rl2 {env_id}.")
    env = _made(env_id)
    if flat_box(env.observation_space) is None:
        raise MetaRLError(
            f"{env_id} has observations {env.observation_space} that cannot be flattened to numbers; write make_env "
            "with an observation wrapper (docs/bring_an_environment.md)."
        )
    attributes, arguments = _attributes(env), _arguments(env)
    # What is an argument too is meant to be chosen; the time step is rarely what an agent should adapt to.
    order = sorted(attributes, key=lambda name: (name not in arguments, name in _TIME_STEPS))
    plain = _episode(_made(env_id))
    found = [name for name in order if _changes(env_id, plain, name)]
    values, method = attributes, ""
    if not found:
        values = arguments
        found = [name for name, value in arguments.items() if _changes(env_id, plain, name, value * _FACTOR)]
        method = f'\n    def make_env(self, task):\n        return gymnasium.make("{env_id}", **task)\n'
    if not found:
        raise MetaRLError(
            f"{env_id} has no numeric attribute or argument that changes an episode; write set_task or make_env "
            "yourself (docs/bring_an_environment.md)."
        )
    lines = [_line(name, values[name]) for name in found]
    others = "".join(f"        # {line}\n" for line in lines[1:])
    declared = "" if method else f'    env = "{env_id}"\n'
    imports = "import gymnasium\n" if method else ""
    if env.spec is None or env.spec.max_episode_steps is None:
        declared += f"    horizon = {_NO_LIMIT}  # steps of an episode; the environment itself has no limit\n"
    space = env.action_space
    if isinstance(space, Box) and not np.isfinite([space.low, space.high]).all():
        imports += "from gymnasium.spaces import Box\n"
        declared += f"    action_space = Box(-1, 1, {space.shape})  # the environment itself has no limits\n"
    env.close()
    short = re.sub(r"-v\d+$", "", env_id.rpartition("/")[2].rpartition(":")[2])
    return _SOURCE.format(
        env=env_id,
        id=f"me/{re.sub(r'[^A-Za-z0-9_-]', '', short)}-v0",
        name=re.sub(r"^(?=\d)", "Env", re.sub(r"\W", "", short)),
        imports=f"{imports}\n" if imports else "",
        declared=declared,
        chosen=lines[0],
        others=f"        # What else changes an episode:\n{others}" if others else "",
        method=method,
    )


def _made(env_id: str, **arguments: Any) -> Any:
    import gymnasium

    try:
        return gymnasium.make(env_id, **arguments)
    except Exception as error:  # of whoever wrote it
        raise MetaRLError(f"gymnasium.make({env_id!r}) fails: {' '.join(str(error).split())}") from error


def _line(name: str, value: float) -> str:
    ends = sorted((value * (2 - _FACTOR), value * _FACTOR))
    low, high = (float(f"{end:.4g}") for end in ends)
    return f"{name}=Uniform({low}, {high}),  # {value:.6g} in the environment"


def _attributes(env: Any) -> dict[str, float]:
    """Return the numeric attributes of an environment and its classes, those that are no whole numbers first."""
    import gymnasium

    inner = env.unwrapped
    classes = [cls for cls in type(inner).__mro__ if cls not in gymnasium.Env.__mro__]
    names = {name: None for owner in (inner, *classes) for name in vars(owner) if not name.startswith("_")}
    values = {name: getattr(inner, name) for name in names if name != "np_random_seed"}
    numbers = {name: value for name, value in values.items() if _is_number(value)}
    return dict(sorted(numbers.items(), key=lambda item: isinstance(item[1], int)))


def _arguments(env: Any) -> dict[str, float]:
    """Return the numeric arguments of an environment's constructor, with their defaults."""
    parameters = inspect.signature(type(env.unwrapped).__init__).parameters
    return {name: each.default for name, each in parameters.items() if _is_number(each.default)}


def _is_number(value: Any) -> bool:
    """Tell whether a value may be a task parameter; none that is 0, whose scale nobody knows."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value != 0


def _changes(env_id: str, plain: list[bytes], name: str, argument: float | None = None) -> bool:
    """Tell whether an episode differs from the plain one with an attribute changed, or an argument of that value."""
    try:
        env = _made(env_id) if argument is None else _made(env_id, **{name: argument})
        if argument is None:
            setattr(env.unwrapped, name, getattr(env.unwrapped, name) * _FACTOR)
        return bool(_episode(env) != plain)
    except Exception:  # a count that must be whole, say
        return False


def _episode(env: Any) -> list[bytes]:
    """Return what an environment shows of an episode with the same seed and the same actions."""
    import numpy as np
    from gymnasium.spaces.utils import flatten

    space = env.observation_space
    env.action_space.seed(0)
    seen = [np.asarray(flatten(space, env.reset(seed=0)[0])).tobytes()]
    for _ in range(_STEPS):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        seen += [np.asarray(flatten(space, observation)).tobytes(), np.float64(reward).tobytes()]
        if terminated or truncated:
            break
    env.close()
    return seen
