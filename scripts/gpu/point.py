"""Steps of point navigation a second, with a policy of 64 × 64 for each task, and their share of the roofline."""

import torch

from bench.kernels import kernels_of_a_step
from bench.measure import Options, Steps
from bench.roofline import Roofline, measure_roofline
from bench.scale import LANES, POINT, measure_point, parts_of
from gpu.record import Job, Record, attempt
from metarl.core.process import prepare_process

_SIZES = (65_536, 4_096, 1_048_576)  # the one that has a figure to reach first
_QUICK: tuple[Steps, ...] = ("eager", "captured")
_SLOW: tuple[Steps, ...] = ("compiled", "both")  # to generate code takes longer than all the rest
_REPEATS = 3


def measure(job: Job, record: Record) -> None:
    """All sizes eager and captured, then compiled."""
    prepare_process(1)
    roof = measure_roofline(job.device)
    record.number("bandwidth", roof.bandwidth / 1e9, "GB/s", "of a large copy, read and written")
    record.number("products", roof.flops / 1e12, "Tflop/s", "float32")
    for variants in (_QUICK, _SLOW):
        for size in _SIZES:
            for steps in variants:
                _one(size, steps, roof, job, record)
    _kernels(job, record)


def _one(size: int, steps: Steps, roof: Roofline, job: Job, record: Record) -> None:
    """One size, one way."""
    n = job.size(size, LANES) // LANES * LANES
    name = f"{n:,} environments, {steps}"
    if steps in ("captured", "both") and not job.on_gpu:
        record.missing(name, "a CPU has no CUDA graphs")
        return
    if steps == "compiled" and size != _SIZES[0] and not job.on_gpu:
        record.missing(name, "on a CPU one size says enough")
        return
    with attempt(record, name):
        found = measure_point(n, roof, _options(job, steps))
        share = f"{found.least / found.seconds:.1%} of the roofline"
        shares = f"; {found.shares}" if steps == "eager" else ""
        record.number(name, found.rate / 1e6, "million steps/s", f"{share}{shares}; {found.seconds:.4f} s a rollout")
    if job.on_gpu:
        torch.cuda.empty_cache()


def _options(job: Job, steps: Steps) -> Options:
    return Options(device=job.device, repeats=_REPEATS if job.on_gpu else 1, threads=1, steps=steps)


def _kernels(job: Job, record: Record) -> None:
    """Kernels a step as counted beforehand, and on a GPU as its profiler sees them."""
    record.number("kernels a step, counted", kernels_of_a_step().total, "kernels", "captured, on torch's meta device")
    if not job.on_gpu:
        record.missing("kernels a step, profiled", "a CPU launches none")
        return
    for steps in _QUICK:
        name = f"kernels a step, profiled, {steps}"
        parts = parts_of(POINT, job.size(_SIZES[1], LANES) // LANES * LANES, _options(job, steps))
        with attempt(record, name):  # a profiler needs rights that not every machine gives
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
                parts.play()
                torch.cuda.synchronize()
            kernels = sum(event.count for event in profile.key_averages()) / 100
            record.number(name, kernels, "kernels", "those before the first of 100 steps and after the last among them")
