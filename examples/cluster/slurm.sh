#!/bin/bash
#SBATCH --job-name=backmap
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
#
# Build all atoms of a trajectory on several nodes:
#
#     sbatch slurm.sh INPUT --top TOPOLOGY -o OUTPUT [other options of `backmap reconstruct`]
#
# One scheduler runs on the first node, one worker a processor core on every node. A job that is stopped and
# queued again goes on where it was: the options hold --resume.
set -euo pipefail

scheduler=$(mktemp -d "$PWD/.dask-XXXXXX")/scheduler.json
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$(dirname "$scheduler")"' EXIT

dask scheduler --port 0 --no-dashboard --scheduler-file "$scheduler" 2>/dev/null &
OMP_NUM_THREADS=1 srun dask worker --scheduler-file "$scheduler" --no-dashboard \
    --nworkers "${SLURM_CPUS_PER_TASK:-1}" --nthreads 1 --death-timeout 60 2>/dev/null &

until [ -s "$scheduler" ]; do sleep 0.2; done
backmap reconstruct --scheduler "$scheduler" --resume "$@"
