"""Rows of speed: point navigation and its share of the roofline, a meta-iteration of MAML-TRPO, and the JAX peer."""

import os

import torch

from bench.kernels import kernels_of_a_step
from bench.measure import Options, Steps
from bench.roofline import Roofline, measure_roofline
from bench.scale import ENVS, POINT, Parts, meta_iteration, point_navigation
from gpu.record import Job, Record, attempt

_SIZES = (65_536, 4_096, 1_048_576)  # environments; the one that has a figure to reach comes first
_QUICK: tuple[Steps, ...] = ("eager", "captured")
_SLOW: tuple[Steps, ...] = ("compiled", "both")  # to generate code takes longer than all the rest
_TASKS, _EPISODES = 200, 20
_TRIALS, _MINIBATCHES, _SECONDS = 512, 4, 30  # of the peer, as in our preset; seconds of measuring, once compiled


def point(job: Job, record: Record) -> None:
    """Measure steps a second with a policy of 64 × 64 for each task: all sizes eager and captured, then compiled."""
    roof = measure_roofline(job.device)
    record.number("bandwidth", roof.bandwidth / 1e9, "GB/s", "of a large copy, read and written")
    record.number("products", roof.flops / 1e12, "Tflop/s", "float32")
    for variants in (_QUICK, _SLOW):
        for size in _SIZES:
            for steps in variants:
                _point(size, steps, roof, job, record)
    _kernels(job, record)


def _point(size: int, steps: Steps, roof: Roofline, job: Job, record: Record) -> None:
    n = job.size(size, ENVS) // ENVS * ENVS
    name = f"{n:,} environments, {steps}"
    if _needs_gpu(steps, name, job, record):
        return
    if steps == "compiled" and size != _SIZES[0] and not job.on_gpu:
        record.missing(name, "on a CPU one size says enough")
        return
    with attempt(record, name):
        found, least = point_navigation(n, roof, _options(job, steps))
        shares = f"; {found.shares}" if steps == "eager" else ""
        note = f"{least / found.seconds:.1%} of the roofline{shares}; {found.seconds:.4f} s a rollout"
        record.number(name, found.rate / 1e6, "million steps/s", note)
    if job.on_gpu:
        torch.cuda.empty_cache()


def _kernels(job: Job, record: Record) -> None:
    """Note the kernels of a step as counted beforehand, and on a GPU as its profiler sees them."""
    record.number("kernels a step, counted", kernels_of_a_step().total, "kernels", "captured, on torch's meta device")
    if not job.on_gpu:
        record.missing("kernels a step, profiled", "a CPU launches none")
        return
    for steps in _QUICK:
        name = f"kernels a step, profiled, {steps}"
        parts = Parts(POINT, job.size(_SIZES[1], ENVS) // ENVS * ENVS, _options(job, steps))
        with attempt(record, name):  # a profiler needs rights that not every machine gives
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
                parts.play()
                job.wait()
            kernels = sum(event.count for event in profile.key_averages()) / 100
            record.number(name, kernels, "kernels", "those before the first of 100 steps and after the last among them")


def trpo(job: Job, record: Record) -> None:
    """Measure the seconds of a meta-iteration of MAML-TRPO, its steps eager and captured."""
    tasks = job.size(_TASKS, 2)
    for steps in (*_QUICK, "both"):
        name = f"{tasks} tasks × {_EPISODES} × 100, {steps}"
        if not _needs_gpu(steps, name, job, record):
            with attempt(record, name):
                row = meta_iteration(tasks, _EPISODES, _options(job, steps))
                record.number(name, row.ours, "s", row.note)


def jax(job: Job, record: Record) -> None:
    """Measure the steps a second of the bandit row's peer: PPO with a GRU in jitted JAX, at the same sizes."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if not job.on_gpu:
        os.environ["JAX_PLATFORMS"] = "cpu"
    from bench.peer_jax import BANDIT, jax_training  # not before: JAX looks for its device when it is imported

    def progress(rate: float, seconds: float, iterations: int, earned: float) -> None:
        note = f"{iterations} iterations of {trials} × 100 in {seconds:.1f} s; a trial earned {earned:.1f} in the last"
        record.number("steps a second", rate, "steps/s", note)

    trials = job.size(_TRIALS, _MINIBATCHES) // _MINIBATCHES * _MINIBATCHES
    platform, compiling = jax_training(BANDIT, trials, _SECONDS * job.scale, lambda: job.left(2.0), progress)
    record.number("compiling", compiling, "s", f"JAX on {platform}")
    if job.on_gpu and platform != "gpu":
        record.missing("on the GPU", f"JAX found none and ran on {platform}")


def _options(job: Job, steps: Steps) -> Options:
    return Options(device=job.device, repeats=3 if job.on_gpu else 1, threads=1, steps=steps)


def _needs_gpu(steps: Steps, name: str, job: Job, record: Record) -> bool:
    """Note where CUDA graphs are to be measured on a CPU."""
    if steps in ("captured", "both") and not job.on_gpu:
        record.missing(name, "a CPU has no CUDA graphs")
        return True
    return False
