"""Train each seed as a job of its own: ``python seeds_by_submitit.py rl2 metarl/GridNavi-v0 --seeds 0 1 2``.

Needs ``pip install submitit``. Without SLURM the jobs run on this machine, a process each. A seed's run folder is
``NAME-SEED``, and ``metarl compare`` takes them together.
"""

import argparse
import subprocess
import sys

import submitit


def train(words: list[str]) -> int:
    """Run one ``metarl train``; the job fails where that does."""
    return subprocess.run([sys.executable, "-m", "metarl", "train", *words], check=True).returncode


def main() -> None:
    """Hand in a job array of one training a seed, and wait for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("agent")
    parser.add_argument("family")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--name", default="seeds", help="of the run folders, with the seed behind it")
    parser.add_argument("--hours", type=float, default=4)
    parser.add_argument("--cluster", default=None, help="slurm or local; what there is unless given")
    given, more = parser.parse_known_args()
    executor = submitit.AutoExecutor(folder=f"{given.name}-jobs", cluster=given.cluster)
    executor.update_parameters(
        name=given.name, timeout_min=int(60 * given.hours), cpus_per_task=1, slurm_array_parallelism=64
    )
    commands = [
        [given.agent, given.family, "--seed", str(seed), "--name", f"{given.name}-{seed}", "--resume", *more]
        for seed in given.seeds
    ]
    jobs = executor.map_array(train, commands)
    for seed, job in zip(given.seeds, jobs, strict=True):
        job.result()
        print(f"Seed {seed} is trained.")


if __name__ == "__main__":
    main()
