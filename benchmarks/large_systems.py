"""Time and memory of `backmap reconstruct` for one frame of a large periodic system, file to file.

Run from the repository root::

    OMP_NUM_THREADS=1 python benchmarks/large_systems.py

The systems are slabs in a box twice as long: `folded` of chains of the example structure, turned at random,
on a grid; `soft` of disordered chains as CALVADOS has them, whose beads know nothing of angles.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import mdtraj
import numpy as np
from condensate import BOND_NM, BOND_STIFFNESS, DIAMETER_NM, RESIDUES_PER_NM3, make_topology
from scipy.spatial import KDTree

EXAMPLE = Path(__file__).parent.parent / "examples" / "2bf5.pdb.gz"
SPACING_NM = 3.6
"""Of the grid: 2 residues a cubic nanometre, as in a condensate."""

CHAIN_LENGTHS = 50, 200
KT = 2.494
"""In kJ/mol at 300 K."""
ROUNDS_OF_SHAKING, ROUNDS_OF_BONDS = 60, 20


def write_soft_slab(path: Path, residues: int) -> int:
    """Write a slab of disordered chains, each bead wrapped into the box; give the number of residues."""
    random, lengths = np.random.default_rng(0), list[int]()
    while sum(lengths) < residues:
        lengths.append(int(random.integers(*CHAIN_LENGTHS, endpoint=True)))
    n_beads = sum(lengths)
    width = (n_beads / RESIDUES_PER_NM3) ** (1 / 3)
    begins = np.cumsum([0, *lengths[:-1]])
    walks = np.cumsum(BOND_NM / 3**0.5 * random.normal(size=(n_beads, 3)), axis=0)
    walks -= np.repeat(walks[begins] - width * random.random((len(lengths), 3)), lengths, axis=0)
    positions = shaken(walks, np.setdiff1d(np.arange(1, n_beads), begins), width, random)
    box = np.array([width, width, 2 * width])
    slab = mdtraj.Trajectory((positions % box)[None], make_topology(lengths, random))
    slab.unitcell_lengths, slab.unitcell_angles = box[None], np.full((1, 3), 90.0)
    slab.save(str(path))
    return n_beads


def shaken(
    positions: np.ndarray, bonded: np.ndarray, width: float, random: np.random.Generator
) -> np.ndarray:
    """Push beads (beads, 3) of a cube apart, and give the bonds to those before equilibrium lengths."""
    lengths = random.normal(BOND_NM, (KT / BOND_STIFFNESS) ** 0.5, len(bonded))[:, None]
    halves = [bonded % 2 == odd for odd in (0, 1)]
    for n_left in range(ROUNDS_OF_SHAKING, 0, -1):
        if n_left > ROUNDS_OF_BONDS:
            tree = KDTree(positions % width, boxsize=width)
            first, second = tree.query_pairs(DIAMETER_NM, output_type="ndarray").T
            move(positions, first, second, DIAMETER_NM, width)
        for half in halves:
            move(positions, bonded[half] - 1, bonded[half], lengths[half], np.inf)
    return positions


def move(positions: np.ndarray, first: np.ndarray, second: np.ndarray, apart: object, width: float) -> None:
    """Move pairs of beads, both by as much, to be so far apart."""
    ways = positions[second] - positions[first]
    if np.isfinite(width):
        ways -= width * np.round(ways / width)
    ways *= 0.5 * (apart / np.linalg.norm(ways, axis=-1, keepdims=True) - 1)
    np.add.at(positions, second, ways)
    np.subtract.at(positions, first, ways)


def write_folded_slab(path: Path, residues: int) -> int:
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


SLABS = {"folded": write_folded_slab, "soft": write_soft_slab}


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
    parser.add_argument("--slabs", nargs="+", choices=SLABS, default=list(SLABS))
    parser.add_argument("--suffix", default=".cif", help="format of the output")
    arguments = parser.parse_args()
    print("| slab | residues | seconds | CPU seconds | residues/s | peak memory, GB |")
    print("| --- " * 6 + "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for kind, wanted in product(arguments.slabs, arguments.residues):
            given, built = Path(folder, "beads.pdb"), Path(folder, f"atoms{arguments.suffix}")
            residues = SLABS[kind](given, wanted)
            command = [sys.executable, "-m", "backmap", "reconstruct", str(given), "-o", str(built)]
            seconds, processor, memory = run([*command, "--overwrite"])
            cells = f"{residues} | {seconds:.1f} | {processor:.1f} | {residues / seconds:.0f} | {memory:.2f}"
            print(f"| {kind} | {cells} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
