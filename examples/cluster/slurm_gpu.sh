#!/bin/bash
#SBATCH --job-name=backmap
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --requeue
#
# The same on GPUs: one worker a GPU. SLURM shows every task the GPU that is its own.
set -euo pipefail

scheduler=$(mktemp -d "$PWD/.dask-XXXXXX")/scheduler.json
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$(dirname "$scheduler")"' EXIT

dask scheduler --port 0 --no-dashboard --scheduler-file "$scheduler" 2>/dev/null &
srun dask worker --scheduler-file "$scheduler" --no-dashboard --nthreads 1 --death-timeout 60 2>/dev/null &

until [ -s "$scheduler" ]; do sleep 0.2; done
backmap reconstruct --scheduler "$scheduler" --device cuda --resume "$@"
