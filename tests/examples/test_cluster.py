"""The scripts for clusters, run on this machine in place of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mdtraj
import pytest

pytest.importorskip("distributed")

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("script", ["slurm.sh", "slurm_gpu.sh"])
def test_scripts_are_sound(script):
    assert subprocess.run(["bash", "-n", str(EXAMPLES / "cluster" / script)]).returncode == 0


def test_a_slurm_job(tmp_path):
    """``srun`` runs what it is given once, as on a cluster of one node."""
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text('#!/bin/bash\nexec "$@"\n')
    srun.chmod(0o755)
    path = f"{srun.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SLURM_CPUS_PER_TASK": "2", "OMP_NUM_THREADS": "1"}
    given = ["ww_c_alpha.xtc", "--top", "ww_c_alpha.pdb"]
    options = ["-o", "out.xtc", "--batch", "4", "--device", "cpu", "--quiet"]
    words = [str(EXAMPLES / word) if word.startswith("ww") else word for word in given]
    job = [str(EXAMPLES / "cluster" / "slurm.sh"), *words, *options]
    done = subprocess.run(job, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert mdtraj.load(str(tmp_path / "out.xtc"), top=str(tmp_path / "out.pdb")).n_frames == 32
    assert not list(tmp_path.glob(".dask*"))
