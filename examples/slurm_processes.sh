#!/bin/bash
# One training on several machines: sbatch slurm_processes.sh maml metarl/HalfCheetahVel-v0 --name cheetah
#
# torchrun starts a process for every core on each machine; they meet at the first machine (c10d) and share the tasks of
# an iteration. Two minutes before the time limit SLURM sends SIGTERM; the training saves after its iteration, and the
# job is put back into the queue. --resume begins a run, or goes on with it, also with another number of processes.
# The run folder has to lie where all machines see it.
#SBATCH --job-name=metarl
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes="$SLURM_NNODES" --nproc-per-node="$SLURM_CPUS_PER_TASK" --max-restarts=3 \
    --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$first:29400" \
    -m metarl train "$@" --resume &
training=$!
asked=
trap 'asked=1; scancel --signal=TERM "$SLURM_JOB_ID.0"' TERM

# A signal ends `wait` early, before the training has saved; so wait until there is nothing to wait for.
wait "$training"; code=$?
while kill -0 "$training" 2>/dev/null; do wait "$training"; code=$?; done

# torchrun has an exit code of its own, so what was asked decides.
if [ -n "$asked" ]; then
    echo "Out of time at $(date): saved, and back into the queue."
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
