"""Are minimised outputs fit to simulate? Strain, the time of a minimisation, and dynamics without restraints.

Run from the repository root, with a folder of PDB files::

    python benchmarks/simulation_start.py ../shared/data/pdb/test-dev --structures 20

Proteins of at most ``--residues`` residues, all complete, are rebuilt from their C-alphas, with hydrogens.
The crystal structures themselves get hydrogens too. Both are minimised. Energies are those of OpenMM in AMBER
ff14SB and OBC2. Times are of the processor, on one thread; OpenMM minimises one frame of each protein in the
same run. Dynamics of ``--picoseconds`` at 300 K start from the minimised output. They are stable if all
positions stay finite and the C-alphas stay within 0.3 nm (RMSD) of where they began. The smallest files come
first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mdtraj
import numpy as np
import torch
from openmm_reference import OpenMMReference

import backmap
from backmap.errors import InputError
from backmap.io import AtomList, open_source, source_from_mdtraj, to_mdtraj
from backmap.postprocessing import Hydrogens
from backmap.postprocessing.minimisation import RestrainedMinimisation

LARGEST_RMSD_NM = 0.3
FEWEST_RESIDUES = 30
COLUMNS = (
    "structure",
    "residues",
    "s per frame",
    "times faster",
    "kJ/mol per residue",
    "by OpenMM",
    "crystal",
    "RMSD, nm",
    "stable",
)


@dataclass
class Start:
    """A protein with hydrogens before the minimisation, (frames, atoms, 3) in nm."""

    atoms: AtomList
    frames: np.ndarray


def read(path: Path) -> tuple[AtomList, np.ndarray]:
    """All heavy atoms of a crystal structure, (atoms, 3) in nm."""
    source = open_source(path)
    frame = next(iter(source.chunks(1))).coordinates[0]
    return AtomList.of_protein(source.topology, source.sites.present), frame.astype(np.float64)


def with_hydrogens(atoms: AtomList, frames: np.ndarray) -> Start:
    frames = frames - frames[:, :1]
    hydrogens = Hydrogens(atoms, frames[0])
    return Start(hydrogens.atoms, hydrogens.apply(frames))


def rebuilt(crystal: mdtraj.Trajectory, samples: int) -> Start:
    """Structures from the C-alphas of a crystal structure."""
    beads = crystal.atom_slice(crystal.topology.select("name CA"))
    frames = mdtraj.Trajectory(np.repeat(beads.xyz[:1], samples, axis=0), beads.topology)
    source = source_from_mdtraj(backmap.reconstruct(frames, device="cpu"))
    (chunk,) = source.chunks(samples)
    atoms = AtomList.of_protein(source.topology, source.sites.present)
    return with_hydrogens(atoms, chunk.coordinates.astype(np.float64))


def timed(call: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    start = time.process_time()
    return call(), time.process_time() - start


def rmsd(first: np.ndarray, second: np.ndarray) -> float:
    """Smallest root-mean-square distance of points (n, 3) after a rotation."""
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    u, _, vt = np.linalg.svd(first.T @ second)
    u[:, -1] *= np.sign(np.linalg.det(u @ vt))
    return float(np.sqrt(((first @ (u @ vt) - second) ** 2).sum(axis=-1).mean()))


def judge(path: Path, options: argparse.Namespace) -> str | None:
    """A row of the table; None for a structure that is not taken."""
    try:
        atoms, positions = read(path)
        residues = len(atoms.residues)
        if not FEWEST_RESIDUES <= residues <= options.residues:
            return None
        crystal = with_hydrogens(atoms, positions[None])
        built = rebuilt(to_mdtraj(atoms, positions[None]), options.frames)
        minimisation = RestrainedMinimisation(built.atoms, iterations=options.iterations, device="cpu")
        of_crystal = RestrainedMinimisation(crystal.atoms, iterations=options.iterations, device="cpu")
    except InputError:
        return None
    reference, of_crystals = OpenMMReference(built.atoms), OpenMMReference(crystal.atoms)
    minimised, seconds = timed(lambda: minimisation.apply(built.frames))
    by_openmm, slow = timed(lambda: reference.minimise(built.frames[0], options.openmm_iterations))
    strain = np.mean([reference.energy(frame) for frame in minimised[:1]]) / residues
    cells = [
        path.name.split(".")[0],
        f"{residues}",
        f"{seconds / options.frames:.3f}",
        f"{slow / (seconds / options.frames):.0f}",
        f"{strain:.1f}",
        f"{reference.energy(by_openmm) / residues:.1f}",
        f"{of_crystals.energy(of_crystal.apply(crystal.frames)[0]) / residues:.1f}",
    ]
    if options.picoseconds:
        names = np.array([name for residue in built.atoms.residues for name in residue.atom_names])
        try:
            after = OpenMMReference(built.atoms, free=True).simulate(minimised[0], options.picoseconds)
            moved = rmsd(minimised[0][names == "CA"], after[names == "CA"])
            stable = np.isfinite(after).all() and moved <= LARGEST_RMSD_NM
            cells += [f"{moved:.3f}", "yes" if stable else "no"]
        except Exception as error:  # OpenMM raises its own exception where positions become NaN
            cells += ["-", f"no: {error}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print one row per structure as it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--structures", type=int, default=20)
    parser.add_argument("--residues", type=int, default=200, help="of the largest protein taken")
    parser.add_argument("--frames", type=int, default=8, help="minimised together")
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--openmm-iterations", type=int, default=100, help="with a tenth as many in solvent")
    parser.add_argument("--picoseconds", type=float, default=10.0, help="of dynamics; 0 for none")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| " + " | ".join(COLUMNS) + " |")
    print("| --- " * len(COLUMNS) + "|")
    taken = 0
    for path in sorted(options.folder.glob("*.pdb.gz"), key=lambda path: path.stat().st_size):
        row = judge(path, options) if taken < options.structures else None
        if row is not None:
            taken += 1
            print(row, flush=True)


if __name__ == "__main__":
    main()
