"""How fast are frames on beads, relative to frames on C-alphas?

Run from the repository root, with a trajectory of all atoms::

    OMP_NUM_THREADS=1 python benchmarks/bead_speed.py simulations/villin.dcd --top simulations/villin.pdb

The trajectory is coarse-grained to C-alphas and to the beads of each mapping, and rebuilt from both in turn,
in memory. CPU seconds of whole calls are compared, with the loading of models.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mdtraj

import backmap

BACKMAP = Path(sys.executable).with_name("backmap")
MAPPINGS = ("residue-centre", "c-alpha+side-chain-centre", "martini3", "backbone")


def coarse_grained(atoms: Path, topology: Path, beads: str, folder: Path) -> mdtraj.Trajectory:
    """The beads of a trajectory."""
    output = folder / f"{beads}.xtc"
    command = [BACKMAP, "coarse-grain", atoms, "--top", topology, "--beads", beads, "-o", output]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return mdtraj.load(str(output), top=str(output.with_suffix(".pdb")))


def seconds(beads: mdtraj.Trajectory, mapping: str) -> float:
    """CPU seconds of one call."""
    begin = time.process_time()
    backmap.reconstruct(beads, beads=mapping)
    return time.process_time() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trajectory", type=Path, help="of all atoms")
    parser.add_argument("--top", type=Path, required=True, help="its topology")
    parser.add_argument("--beads", nargs="+", default=MAPPINGS, help="mappings")
    parser.add_argument("--turns", type=int, default=5, help="(%(default)s)")
    options = parser.parse_args()
    print("| beads | CPU time relative to C-alphas, median | lowest | highest |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        given = {
            name: coarse_grained(options.trajectory, options.top, name, Path(folder))
            for name in ("c-alpha", *options.beads)
        }
        for name in options.beads:
            seconds(given[name], name)
            ratios = [
                seconds(given[name], name) / seconds(given["c-alpha"], "c-alpha")
                for _ in range(options.turns)
            ]
            print(f"| {name} | {statistics.median(ratios):.2f} | {min(ratios):.2f} | {max(ratios):.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
