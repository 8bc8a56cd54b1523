#!/bin/bash
# A training as a SLURM job that outlives its time limit: sbatch slurm.sh rl2 metarl/GridNavi-v0 --name grid --seed 0 1 2
#
# Two minutes before the limit SLURM sends SIGTERM to this script, which passes it on; the training saves after its
# iteration and exits with 143, and the job is put back into the queue. --resume begins a run, or goes on with it.
#SBATCH --job-name=metarl
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

metarl train "$@" --resume &
training=$!
trap 'kill -TERM "$training"' TERM

# A signal ends `wait` early, before the training has saved; so wait until there is nothing to wait for.
wait "$training"; code=$?
while kill -0 "$training" 2>/dev/null; do wait "$training"; code=$?; done

if [ "$code" -eq 143 ]; then
    echo "Out of time at $(date): saved, and back into the queue."
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
