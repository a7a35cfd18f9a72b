"""Many short simulations with forces, from different structures: the data of a coarse-grained force field.

    python forces.py hot.dcd --top hot.pdb --starts 24 -o forces

Force matching needs no equilibrium between folded and unfolded structures, only frames of all kinds at one
temperature. Frames of a simulation at a high temperature, equally far apart, are simulated for a short time
each at the temperature of interest, by `../simulate.py`: ``forces/run_01.dcd``, ``run_01.forces.npy`` ...
"""

import argparse
import subprocess
import sys
from pathlib import Path

import mdtraj
import numpy as np

SIMULATE = Path(__file__).parents[1] / "simulate.py"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("trajectory", type=Path, help="structures to start from, with all atoms")
    add("--top", type=Path, required=True, help="their topology")
    add("--starts", type=int, default=24, help="number of simulations (%(default)s)")
    add("--picoseconds", type=float, default=100.0, help="length of each (%(default)s)")
    add("--frame-interval", type=float, default=0.2, metavar="PS", help="(%(default)s)")
    add("--temperature", type=float, default=350.0, metavar="K", help="(%(default)s)")
    add("--threads", type=int, default=1, help="(%(default)s)")
    add("-o", "--output", type=Path, required=True, help="folder")
    arguments = parser.parse_args()

    arguments.output.mkdir(exist_ok=True)
    frames = mdtraj.load(str(arguments.trajectory), top=str(arguments.top))
    rows = np.linspace(0, len(frames) - 1, arguments.starts).round().astype(int)
    for number, row in enumerate(rows.tolist(), 1):
        run = arguments.output / f"run_{number:02d}.dcd"
        if run.exists():
            continue
        start = arguments.output / f"start_{number:02d}.pdb"
        frames[row].save(str(start))
        command = [
            *(sys.executable, SIMULATE, start, "--platform", "CPU", "--threads", arguments.threads),
            *("--heavy-hydrogens", "--forces", "--equilibration", 5, "--seed", number, "-o", run),
            *("--nanoseconds", arguments.picoseconds / 1000, "--frame-interval", arguments.frame_interval),
            *("--temperature", arguments.temperature),
        ]
        print(f"{number} of {arguments.starts}", flush=True)
        subprocess.run([str(word) for word in command], check=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
