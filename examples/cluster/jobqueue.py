"""Build all atoms on as many SLURM jobs as there is work for, with dask-jobqueue.

    pip install dask-jobqueue
    python jobqueue.py --jobs 20 --cores 32 -- ca.xtc --top ca.pdb -o all_atoms.xtc

Jobs come and go while the run goes on; what follows `--` are options of `backmap reconstruct`.
"""

from __future__ import annotations

import argparse
import subprocess

from dask_jobqueue import SLURMCluster


def main() -> int:
    """Start jobs and build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--jobs", type=int, default=4, help="at most (%(default)s)")
    add("--cores", type=int, default=16, help="of a job, one worker each (%(default)s)")
    add("--memory", default="32GB", help="of a job (%(default)s)")
    add("--queue", help="partition")
    add("--walltime", default="04:00:00", help="of a job (%(default)s)")
    add("options", nargs="+", help="of backmap reconstruct, after --")
    arguments = parser.parse_args()
    cluster = SLURMCluster(
        cores=arguments.cores,
        processes=arguments.cores,
        memory=arguments.memory,
        queue=arguments.queue,
        walltime=arguments.walltime,
    )
    with cluster:
        cluster.adapt(minimum_jobs=1, maximum_jobs=arguments.jobs)
        command = ["backmap", "reconstruct", "--scheduler", cluster.scheduler_address, *arguments.options]
        return subprocess.run(command).returncode


if __name__ == "__main__":
    raise SystemExit(main())
