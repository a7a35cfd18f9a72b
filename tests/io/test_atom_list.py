"""How listed residues are named in messages."""

from dataclasses import replace

import numpy as np

from backmap.chemistry import Topology
from backmap.io import AtomList


def test_residues_are_described_as_by_the_topology():
    topology = replace(
        Topology.from_sequences("AL", "G"),
        chain_ids=("A", " "),
        residue_numbers=np.array([4, 27, 1]),
        insertion_codes=("", "B", ""),
    )
    atoms = AtomList.of_protein(topology, topology.atom_mask)
    described = [atoms.describe(residue) for residue in range(3)]
    assert described == ["chain A residue 4 ALA", "chain A residue 27B LEU", "residue 1 GLY"]
    assert described == [topology.describe(residue) for residue in range(3)]
