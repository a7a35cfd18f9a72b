"""Time and memory of `backmap reconstruct` for one frame of a large periodic system, file to file.

Run from the repository root::

    OMP_NUM_THREADS=1 python benchmarks/large_systems.py

The systems are slabs in a box twice as long: chains of the example structure, turned at random, on a grid.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mdtraj
import numpy as np

EXAMPLE = Path(__file__).parent.parent / "examples" / "2bf5.pdb.gz"
SPACING_NM = 3.6
"""Of the grid: 2 residues a cubic nanometre, as in a condensate."""


def write_slab(path: Path, residues: int) -> int:
    """Write the C-alphas of a slab of at least so many residues; give their number."""
    structure = mdtraj.load(str(EXAMPLE))
    structure = structure.atom_slice(structure.topology.select("name CA"))
    parts = [structure.atom_slice([atom.index for atom in chain.atoms]) for chain in structure.top.chains]
    random, chains = np.random.default_rng(0), []
    while sum(chain.n_atoms for chain in chains) < residues:
        chains.append(parts[len(chains) % len(parts)])
    across = int(np.ceil((len(chains) / 2) ** (1 / 3)))
    along = int(np.ceil(len(chains) / across**2))
    positions = []
    for number, chain in enumerate(chains):
        turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
        turn *= np.sign(np.linalg.det(turn))
        place = number % across, number // across % across, number // across**2
        positions.append((chain.xyz[0] - chain.xyz[0].mean(axis=0)) @ turn + SPACING_NM * np.array(place))
    topology = mdtraj.Topology()
    for chain in chains:
        added = topology.add_chain()
        for residue in chain.top.residues:
            copy = topology.add_residue(residue.name, added, resSeq=residue.resSeq)
            topology.add_atom("CA", mdtraj.element.carbon, copy)
    box = SPACING_NM * np.array([[across, across, 2 * along]])
    slab = mdtraj.Trajectory(
        np.concatenate(positions)[None],
        topology,
        unitcell_lengths=box,
        unitcell_angles=np.full((1, 3), 90.0),
    )
    slab.save(str(path))
    return slab.n_atoms


def run(command: list[str]) -> tuple[float, float, float]:
    """Run a command; give seconds, seconds of the processor, and the most memory it held, in GB."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--residues", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--suffix", default=".cif", help="format of the output")
    arguments = parser.parse_args()
    print("| residues | seconds | CPU seconds | residues/s | peak memory, GB |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for wanted in arguments.residues:
            given, built = Path(folder, f"{wanted}.pdb"), Path(folder, f"{wanted}{arguments.suffix}")
            residues = write_slab(given, wanted)
            seconds, processor, memory = run(
                [sys.executable, "-m", "backmap", "reconstruct", str(given), "-o", str(built)]
            )
            speed = residues / seconds
            print(
                f"| {residues} | {seconds:.1f} | {processor:.1f} | {speed:.0f} | {memory:.2f} |", flush=True
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
