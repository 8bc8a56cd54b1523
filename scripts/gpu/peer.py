"""The peer of the bandit's row: PPO with a GRU in jitted JAX, at the same sizes."""

import os

from gpu.record import Job, Record

_TRIALS, _MINIBATCHES = 512, 4
_SECONDS = 30  # of measuring, once it is compiled


def measure(job: Job, record: Record) -> None:
    """Its environment steps a second, collecting and learning."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if not job.on_gpu:
        os.environ["JAX_PLATFORMS"] = "cpu"
    from bench.peer_jax_bandit import jax_bandit  # not before: JAX looks for its device when it is imported

    def told(rate: float, seconds: float, iterations: int, earned: float) -> None:
        note = f"{iterations} iterations of {trials} × 100 in {seconds:.1f} s; a trial earned {earned:.1f} in the last"
        record.number("steps a second", rate, "steps/s", note)

    trials = job.size(_TRIALS, _MINIBATCHES) // _MINIBATCHES * _MINIBATCHES
    platform, compiling = jax_bandit(trials, _SECONDS * job.scale, lambda: job.left(2.0), told)
    record.number("compiling", compiling, "s", f"JAX on {platform}")
    if job.on_gpu and platform != "gpu":
        record.missing("on the GPU", f"JAX found none and ran on {platform}")
