"""Bonds through rings."""

import numpy as np
import pytest

from backmap.chemistry import ATOM_SLOTS, SLOT_C, SLOT_CA, Topology
from backmap.chemistry.residues import AROMATIC_RINGS, HEAVY_ATOMS
from backmap.evaluation.rings import pierced_rings, ring_atoms

RADIUS = 0.14


def phenylalanine_and_bond(name: str, start, end) -> np.ndarray:
    """Put a flat ring about the origin, and the bond CA-C of a Gly in another chain from start to end."""
    topology = Topology.from_sequences({"PHE": "F", "PRO": "P"}[name], "G")
    atoms = np.full((2, ATOM_SLOTS, 3), 9.0)
    ring = AROMATIC_RINGS[name][0]
    turns = np.linspace(0, 2 * np.pi, len(ring), endpoint=False)
    slots = [HEAVY_ATOMS[name].index(atom) for atom in ring]
    atoms[0, slots] = RADIUS * np.stack([np.cos(turns), np.sin(turns), 0 * turns], axis=1)
    atoms[1, SLOT_CA], atoms[1, SLOT_C] = start, end
    bonds = ATOM_SLOTS + np.array([[SLOT_CA, SLOT_C]])
    return pierced_rings(atoms, bonds, ring_atoms(topology, topology.atom_mask))


@pytest.mark.parametrize("name", ["PHE", "PRO"])
@pytest.mark.parametrize(
    ("start", "end", "through"),
    [
        ((0.01, 0.02, -0.07), (0.01, 0.02, 0.08), True),
        ((0.01, 0.02, 0.08), (0.01, 0.02, -0.07), True),
        ((0.01, 0.02, 0.02), (0.01, 0.02, 0.17), False),  # ends before the ring
        ((0.20, 0.00, -0.07), (0.20, 0.00, 0.08), False),  # beside it
        ((-0.05, 0.00, 0.10), (0.10, 0.00, 0.10), False),  # parallel to it
    ],
)
def test_a_bond_through_the_ring_is_found(name, start, end, through):
    np.testing.assert_array_equal(phenylalanine_and_bond(name, start, end), [through])


def test_bonds_of_the_ring_residue_never_count():
    topology = Topology.from_sequences("FG")
    atoms = np.random.default_rng(0).random((4, 2, ATOM_SLOTS, 3)) * 0.2
    rings = ring_atoms(topology, topology.atom_mask)
    own = np.array([[0, 1], [SLOT_C, ATOM_SLOTS]])
    assert not pierced_rings(atoms, own, rings).any()
    assert pierced_rings(atoms, own, rings).shape == (4, 2)


def test_rings_with_a_missing_atom_are_left_out():
    topology = Topology.from_sequences("WFHPYA")
    present = topology.atom_mask
    assert len(ring_atoms(topology, present)) == 6
    present[1, 7] = False
    present[0, 5] = False  # CG of Trp: only its ring of five
    assert len(ring_atoms(topology, present)) == 4


def test_no_rings_and_no_bonds():
    topology = Topology.from_sequences("AG")
    rings = ring_atoms(topology, topology.atom_mask)
    none = np.empty((0, 2), dtype=np.int64)
    assert pierced_rings(np.zeros((3, 2, ATOM_SLOTS, 3)), none, rings).shape == (3, 0)
