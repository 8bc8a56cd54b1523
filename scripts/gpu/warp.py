"""The row of the warp engine: how many control steps a second it takes, and how far it is from MuJoCo's own."""

import time

import torch

from gpu.record import Job, Record, attempt
from metarl.core.random import gymnasium_keys, stream_keys
from metarl.family import make_family
from metarl.family.checks.play import N_ENVS, Subject, some_actions

_WORLDS, _MORE = 4_096, 16_384
_STEPS = 100  # control steps that are timed
_REPEATS = 3
# The one that has a figure to reach comes first; the last is what a step of contact forces costs.
_FAMILIES = (
    ("metarl/HalfCheetahVel-v0", _WORLDS),
    ("metarl/HalfCheetahVel-v0", _MORE),
    ("metarl/HopperRandParams-v0", _WORLDS),
    ("metarl/AntDir-v0", _WORLDS),
)


def measure(job: Job, record: Record) -> None:
    """Measure control steps a second of families with a task in every world, and the distance from the C engine."""
    for name, worlds in _FAMILIES:
        n = job.size(worlds, N_ENVS)
        what = f"{name.split('/')[1].split('-')[0]}, {n:,} worlds"
        with attempt(record, what):
            _rate(name, n, what, job, record)
    for name in dict.fromkeys(name for name, _ in _FAMILIES):
        with attempt(record, f"{name}, distance from MuJoCo"):
            _distance(name, job, record)


def _rate(name: str, n: int, what: str, job: Job, record: Record) -> None:
    family = make_family(name, engine="warp")
    started = time.perf_counter()
    batch = family.batch(family.tasks.sample(stream_keys(n, 0, "warp")), stream_keys(n, 0, "warp"), job.device)
    steps = max(2, round(_STEPS * job.scale))
    actions = some_actions(family.action_space, steps, n).to(job.device)
    batch.reset()
    batch.step(actions[0])
    job.wait()
    record.number(f"{what}: first step", time.perf_counter() - started, "s", "compiling, and on a GPU capturing")
    best = float("inf")
    for _ in range(_REPEATS):
        batch.reset()
        job.wait()
        started = time.perf_counter()
        for action in actions:
            batch.step(action)
        job.wait()
        best = min(best, time.perf_counter() - started)
    note = f"{steps} control steps of {family.frame_skip} physics steps" if hasattr(family, "frame_skip") else ""
    record.number(what, n * steps / best, "control steps/s", f"best of {_REPEATS}; {note}, rewards and observations")


def _distance(name: str, job: Job, record: Record) -> None:
    subject = Subject(make_family(name, engine="warp"))  # as `metarl check` and the table of docs/warp.md have them
    keys, actions = gymnasium_keys(0, N_ENVS), subject.actions.to(job.device)
    found = subject.family.compare_engines(subject.tasks, keys, actions)
    for part, value in found.distances.items():
        record.number(f"{name}: {part}", value, "from MuJoCo's own", f"at most {found.tolerance:g}")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
