"""How fast are coherent frames, relative to frames on their own?

Run from the repository root::

    OMP_NUM_THREADS=1 python benchmarks/coherent_frames.py

The first residues of the example structure sway: their C-alphas follow an autoregression. Both kinds of
frames are built in turn, in memory. CPU seconds of whole calls are compared, with the loading of the model.
"""

import argparse
import statistics
import time
from pathlib import Path

import mdtraj
import numpy as np

import backmap

EXAMPLE = Path(__file__).parent.parent / "examples" / "2bf5.pdb.gz"
SWAY_NM, MEMORY = 0.005, 0.9


def swaying(n_residues: int, n_frames: int) -> mdtraj.Trajectory:
    """C-alphas of the first residues, 1 ps per frame."""
    structure = mdtraj.load(str(EXAMPLE))
    c_alpha = structure.atom_slice(structure.topology.select("name CA")[:n_residues])
    noise = np.random.default_rng(0)
    places, away = np.empty((n_frames, *c_alpha.xyz.shape[1:]), np.float32), np.zeros_like(c_alpha.xyz[0])
    for frame in range(n_frames):
        away = MEMORY * away + noise.normal(0, SWAY_NM, away.shape)
        places[frame] = c_alpha.xyz[0] + away
    return mdtraj.Trajectory(places, c_alpha.topology, time=np.arange(n_frames))


def seconds(trajectory: mdtraj.Trajectory, coherent: bool) -> float:
    """CPU seconds of one call."""
    options = {"coherent": True, "frame_interval": 1.0} if coherent else {}
    start = time.process_time()
    backmap.reconstruct(trajectory, **options)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--residues", type=int, nargs="+", default=[10, 35, 50, 183])
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    print(
        "| residues | speed relative to frames on their own, median | lowest | highest |",
        "| --- | --- | --- | --- |",
        sep="\n",
    )
    for n_residues in asked.residues:
        trajectory = swaying(n_residues, asked.frames)
        for coherent in (False, True):
            seconds(trajectory[:3], coherent)
        ratios = [seconds(trajectory, False) / seconds(trajectory, True) for _ in range(asked.rounds)]
        numbers = statistics.median(ratios), min(ratios), max(ratios)
        print(f"| {n_residues} | " + " | ".join(f"{number:.2f}" for number in numbers) + " |", flush=True)


if __name__ == "__main__":
    main()
