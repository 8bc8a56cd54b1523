"""A meta-iteration of MAML-TRPO: collect, adapt, collect, and the outer step."""

from bench.measure import Options, Steps
from bench.scale import meta_iteration
from gpu.record import Job, Record, attempt
from metarl.core.process import prepare_process

_TASKS, _EPISODES = 200, 20
_WAYS: tuple[Steps, ...] = ("eager", "captured", "both")


def measure(job: Job, record: Record) -> None:
    """Seconds of an iteration, its steps as they are and captured."""
    prepare_process(1)
    tasks = job.size(_TASKS, 2)
    for steps in _WAYS:
        name = f"{tasks} tasks × {_EPISODES} × 100, {steps}"
        if steps != "eager" and not job.on_gpu:
            record.missing(name, "a CPU has no CUDA graphs")
            continue
        with attempt(record, name):
            repeats = 3 if job.on_gpu else 1
            row = meta_iteration(tasks, _EPISODES, Options(device=job.device, repeats=repeats, threads=1, steps=steps))
            record.number(name, row.ours, "s", row.note)
