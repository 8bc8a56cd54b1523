"""MuJoCo families against Gymnasium's vectors, EnvPool and MuJoCo's own batch: control steps with random actions."""

from collections.abc import Callable
from typing import Any

import gymnasium
import mujoco
import numpy as np
import torch
from mujoco.batch import Batch as Simulations
from torch import Tensor

from bench.measure import Options, Row, in_turn
from metarl.core.networks import MLP
from metarl.core.process import torch_beside
from metarl.core.random import stream_keys
from metarl.envs.engine.mujoco_family import MujocoFamily
from metarl.family import TaskFamily, make_family
from metarl.family.views.vector import TaskVectorEnv
from metarl.tasks import Tasks

_N = 64
_STEPS = 100  # fewer than an episode has, so that nobody resets on time
# Our name; Gymnasium's, which is EnvPool's too; the ratios to be reached.
_FAMILIES = {
    "metarl/HalfCheetahVel-v0": ("HalfCheetah-v5", {"SyncVectorEnv": 4.0, "AsyncVectorEnv": 5.0, "EnvPool": 1.1}),
    "metarl/AntDir-v0": ("Ant-v5", {"SyncVectorEnv": 2.5, "AsyncVectorEnv": 2.5, "EnvPool": 0.8}),
}


def bench_physics(options: Options) -> list[Row]:
    """Measure families against other vectors, then what tasks of varied dynamics and a policy cost."""
    with torch_beside(torch.get_num_threads()):
        rows = [row for family in _FAMILIES for row in _against_others(family, options)]
        return [*rows, _varied_dynamics(options), _policy_in_the_loop(options)]


def _against_others(name: str, options: Options) -> list[Row]:
    family = make_family(name)
    assert isinstance(family, MujocoFamily)
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (_STEPS, _N, *(family.action_space.shape or ()))).astype(np.float32)
    vector = TaskVectorEnv(family, _N, tasks="train")
    short, (id_, targets) = name.removeprefix("metarl/"), _FAMILIES[name]
    makers: dict[str, Callable[[], Any]] = {
        "SyncVectorEnv": lambda: gymnasium.make_vec(id_, _N, vectorization_mode="sync"),
        "AsyncVectorEnv": lambda: gymnasium.make_vec(id_, _N, vectorization_mode="async"),
        "EnvPool": lambda: _envpool(id_, options.threads),
    }
    rows = []
    # One after the other, for 64 processes, or threads that wait, would slow down what is beside them.
    for other, make in makers.items():
        if (env := make()) is None:
            continue
        ours, theirs = in_turn(options.repeats, _steps(vector, actions), _steps(env, actions))
        env.close()
        rows.append(Row(f"{short}, vector of {_N}", ours, theirs, other, targets[other], _speed(ours)))
    upright = make_family(name)
    vars(upright)["heights"] = None  # an ant that falls would no longer be stepped, and the bare batch knows no falls
    bare = _bare(family, actions, options.threads)
    ours, theirs = in_turn(3 * options.repeats, _engine(_batch(upright), actions), bare)
    calls = "bare Batch.step" + (", contact forces" if family.contact_forces else "")
    return [*rows, Row(f"{short}, engine", ours, theirs, calls, 0.85, _speed(ours))]


def _steps(env: Any, actions: Any) -> Callable[[], None]:
    def run() -> None:
        env.reset()
        for action in actions:
            env.step(action)

    return run


def _speed(seconds: float) -> str:
    return f"{_N * _STEPS / seconds:,.0f} control steps/s"


def _batch(family: TaskFamily, n: int = _N) -> Any:
    keys = stream_keys(n, 0, "benchmark")
    return family.batch(family.splits.train(keys), keys)


def _engine(batch: Any, actions: Any) -> Callable[[], None]:
    controls = torch.from_numpy(actions)

    def run() -> None:
        batch.reset()
        for action in controls:
            batch.step(action)

    return run


def _bare(family: MujocoFamily, actions: Any, threads: int) -> Callable[[], None]:
    """Return steps of MuJoCo's own batch, with the calls that compute contact forces, without anything of ours."""
    model, persistent = family.model, family.contact_forces
    simulations = Simulations(model, _N, threads, persistent=persistent)
    qpos, ctrl = simulations.bind("qpos"), simulations.bind("ctrl")
    scratch, forces = mujoco.MjData(model), np.zeros((_N, model.nbody, 6))

    def run() -> None:
        simulations.reset()
        qpos[:] += np.random.default_rng(0).uniform(-0.1, 0.1, qpos.shape)
        simulations.forward()
        for action in actions:
            ctrl[:] = action
            simulations.step(nstep=family.frame_skip)
            if persistent:
                for i in range(_N):
                    simulations.get_data(i, scratch)
                    mujoco.mj_rnePostConstraint(model, scratch)
                    forces[i] = scratch.cfrc_ext

    return run


def _envpool(name: str, threads: int) -> Any:
    """Make EnvPool's vector, or return None where it is not installed (``pip install envpool``)."""
    try:
        import envpool
    except ImportError:
        return None
    return envpool.make(name, env_type="gymnasium", num_envs=_N, num_threads=threads)


def _varied_dynamics(options: Options) -> Row:
    """Measure a robot with every mass, inertia, friction and damping its own against one with those of the model.

    The fields hold the model's values, for bodies that differ have more or fewer contacts to solve: see the note.
    """
    family, plain = make_family("metarl/HalfCheetahRandParams-v0"), make_family("metarl/HalfCheetahVel-v0", "promp")
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (_STEPS, _N, *(family.action_space.shape or ()))).astype(np.float32)
    unvaried = family.batch(Tasks.stack([family.default()]).repeat(_N), stream_keys(_N, 0, "benchmark"))
    functions = [_engine(batch, actions) for batch in (unvaried, _batch(family), _batch(plain))]
    own, drawn, same = in_turn(3 * options.repeats, *functions)
    note = f"values drawn at random: {same / drawn:.2f}"
    return Row("HalfCheetah, fields of its own", own, same, "the same for all", 0.95, note)


@torch.no_grad()
def _policy_in_the_loop(options: Options) -> Row:
    family = make_family("metarl/HalfCheetahVel-v0")
    batch = _batch(family)
    size = (family.observation_space.shape or ())[0], 64, 64, (family.action_space.shape or ())[0]
    network = MLP(size, "tanh", 0.01)
    params = {name: value[None] for name, value in network.init(torch.Generator().manual_seed(0)).items()}
    noise = torch.randn(_STEPS, _N, size[-1], generator=torch.Generator().manual_seed(0))

    def policy(observation: Tensor, step: int) -> Tensor:
        return (network(params, observation[None], "")[0] + noise[step]).clamp(-1, 1)

    def acting() -> None:
        with torch.no_grad():
            observation = batch.reset()
            for step in range(_STEPS):
                observation = batch.step(policy(observation, step)).observation

    random = _engine(batch, noise.clamp(-1, 1).numpy())
    with_policy, without = in_turn(3 * options.repeats, acting, random)
    return Row("HalfCheetahVel, 64×64 policy in the loop", with_policy, without, "random actions", 0.75)
