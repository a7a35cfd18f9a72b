"""Build all atoms of the C-alphas that MDAnalysis reads, frame by frame, and write them with MDAnalysis.

    pip install MDAnalysis
    python mdanalysis_trajectory.py ww_c_alpha.pdb ww_c_alpha.xtc -o all_atoms.xtc

The structure of the first frame goes to a PDB file of the same name. Only one frame is in memory at a time.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import MDAnalysis
import mdtraj
import numpy as np

import backmap

HERE = Path(__file__).parent
ANGSTROMS_PER_NM = 10.0


def c_alpha_topology(atoms: MDAnalysis.AtomGroup) -> mdtraj.Topology:
    """Make an mdtraj topology of C-alphas; a segment is a chain."""
    topology = mdtraj.Topology()
    for segment in atoms.segments:
        chain = topology.add_chain(chain_id=segment.segid or None)
        for residue in segment.residues & atoms.residues:
            added = topology.add_residue(residue.resname, chain, resSeq=int(residue.resid))
            topology.add_atom("CA", mdtraj.element.carbon, added)
    return topology


def read_frames(atoms: MDAnalysis.AtomGroup) -> Iterator[np.ndarray]:
    """Positions (beads, 3) in nm, one frame at a time."""
    for _ in atoms.universe.trajectory:
        yield atoms.positions / ANGSTROMS_PER_NM


def main() -> None:
    """Read, build, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("topology", type=Path, nargs="?", default=HERE / "ww_c_alpha.pdb", help="what MDAnalysis reads")
    add("trajectory", type=Path, nargs="?", default=HERE / "ww_c_alpha.xtc", help="the same")
    add("--seed", type=int, default=0, help="of the model (%(default)s)")
    add(
        "-o",
        "--output",
        type=Path,
        default=Path("all_atoms.xtc"),
        help="what MDAnalysis writes (%(default)s)",
    )
    arguments = parser.parse_args()

    given = MDAnalysis.Universe(str(arguments.topology), str(arguments.trajectory))
    c_alpha = given.select_atoms("protein and name CA")
    built = backmap.reconstruct_stream(
        read_frames(c_alpha),
        top=c_alpha_topology(c_alpha),
        model="protein",
        samples=1,
        seed=arguments.seed,
    )
    first = next(built)
    structure = arguments.output.with_suffix(".pdb")
    first.save_pdb(str(structure))
    atoms = MDAnalysis.Universe(str(structure)).atoms
    frames = 0
    with MDAnalysis.Writer(str(arguments.output), n_atoms=first.n_atoms) as writer:
        for frame in itertools.chain([first], built):
            atoms.positions = frame.xyz[0] * ANGSTROMS_PER_NM
            atoms.universe.trajectory.ts.time = given.trajectory.time
            writer.write(atoms)
            frames += 1
    print(f"{c_alpha.n_atoms} C-alphas became {first.n_atoms} atoms in each of {frames} frames")


if __name__ == "__main__":
    main()
