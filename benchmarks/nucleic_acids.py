"""Quality of nucleic acids built from beads: structures are coarse-grained, built again and compared.

python benchmarks/nucleic_acids.py simulations/*held-out.dcd
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import mdtraj
import numpy as np
import torch

from backmap.chemistry.nucleic_mapping import layout_of_atoms, load_nucleic_mapping, shipped_nucleic_mappings
from backmap.chemistry.nucleic_topology import NucleicTopology
from backmap.chemistry.nucleotides import NUCLEOTIDE_INDEX, NUCLEOTIDE_SLOTS, nucleotide_atoms
from backmap.evaluation.nucleic_acids import score_nucleic
from backmap.inference.nucleic import NucleicBuilder
from backmap.models import shipped


def read(path: Path, frames: int) -> tuple[NucleicTopology, np.ndarray]:
    """Return nucleotides and their atoms (frames, nucleotides, 23, 3) in nm, NaN where there are none."""
    trajectory = mdtraj.load(str(path), top=str(path.with_suffix(".pdb")))
    trajectory = trajectory[:: max(1, len(trajectory) // frames)]
    residues = list(trajectory.topology.residues)
    atoms = np.full((len(trajectory), len(residues), NUCLEOTIDE_SLOTS, 3), np.nan)
    for number, residue in enumerate(residues):
        known = nucleotide_atoms(residue.name)
        for atom in residue.atoms:
            if atom.name in known:
                atoms[:, number, known.index(atom.name)] = trajectory.xyz[:, atom.index]
    chains = np.array([residue.chain.index for residue in residues], dtype=np.int64)
    topology = NucleicTopology(
        np.array([NUCLEOTIDE_INDEX[residue.name] for residue in residues], dtype=np.int64),
        chains,
        tuple("AB"),
        np.array([residue.resSeq for residue in residues], dtype=np.int64),
        ("",) * len(residues),
        np.append(np.diff(chains) == 0, False),
    )
    return topology, atoms


def main() -> None:
    """Measure every mapping on every file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("structures", type=Path, nargs="+", help="DCD files beside PDB files, or PDB files")
    parser.add_argument("--beads", nargs="*", default=list(shipped_nucleic_mappings()))
    parser.add_argument("--noise", type=float, default=0.0, help="noise of each coordinate of beads, nm")
    parser.add_argument("--frames", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(1)
    library = shipped.read_nucleic_library().load()
    for path in given.structures:
        topology, atoms = read(path, given.frames)
        for name in given.beads:
            mapping = load_nucleic_mapping(name)
            given_atoms = np.isfinite(atoms).all(axis=(0, 3))
            layout = layout_of_atoms(mapping, topology.types, topology.starts, given_atoms)
            beads = torch.from_numpy(layout.image(atoms)).float()
            beads += given.noise * torch.randn(beads.shape, generator=torch.Generator().manual_seed(0))
            builder = NucleicBuilder(library, topology, layout)
            built = builder.reconstruct(beads, numbers=torch.arange(len(beads)), samples=1, seed=0)[0]
            score = score_nucleic(built.double().numpy(), atoms, topology).to_dict()
            score["image_nm"] = float(builder.image_distance(built, beads).square().mean().sqrt())
            print(
                json.dumps(
                    {"file": path.stem, "beads": name}
                    | {key: round(value, 4) for key, value in score.items()}
                )
            )


if __name__ == "__main__":
    main()
