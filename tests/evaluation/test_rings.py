"""Bonds through rings."""

import numpy as np
import pytest

from backmap.chemistry import ATOM_SLOTS, SLOT_C, SLOT_CA, Topology
from backmap.chemistry.near_pairs import near_pairs
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


def test_a_bond_through_a_ring_across_a_face():
    topology = Topology.from_sequences("F", "G")
    atoms = np.full((2, ATOM_SLOTS, 3), 9.0)
    ring = AROMATIC_RINGS["PHE"][0]
    turns = np.linspace(0, 2 * np.pi, len(ring), endpoint=False)
    slots = [HEAVY_ATOMS["PHE"].index(atom) for atom in ring]
    atoms[0, slots] = RADIUS * np.stack([np.cos(turns), np.sin(turns), 0 * turns], axis=1)
    box = np.array([[3.0, 0, 0], [1.0, 4, 0], [-1.0, 2, 5]])
    atoms[1, SLOT_CA], atoms[1, SLOT_C] = (0.01, 0.02, -0.07), (0.01, 0.02, 0.08)
    bonds, rings = ATOM_SLOTS + np.array([[SLOT_CA, SLOT_C]]), ring_atoms(topology, topology.atom_mask)
    for turns in ((0, 0, 0), (1, 0, 0), (-2, 1, 3)):
        moved = atoms.copy()
        moved[1] += turns @ box
        assert pierced_rings(moved, bonds, rings, box).all()
        assert pierced_rings(moved, bonds, rings).all() == (not any(turns))


@pytest.mark.parametrize(
    "box", [None, np.diag([2.0, 1.5, 3.0]), np.array([[2.0, 0, 0], [0.9, 2, 0], [-0.9, 0.8, 2]])]
)
def test_near_pairs_are_all_pairs_within_the_radius(box):
    random = np.random.default_rng(0)
    first, second = 6 * random.random((40, 3)) - 2, 6 * random.random((60, 3)) - 2
    steps = range(-8, 9) if box is not None else range(1)
    shifts = np.array([(x, y, z) for x in steps for y in steps for z in steps]) @ (
        np.zeros((3, 3)) if box is None else box
    )
    offset = first[:, None, None] - (second[:, None] + shifts)
    expected = (np.linalg.norm(offset, axis=-1) <= 0.7).sum(axis=-1)
    i, j, shift = near_pairs(first, second, 0.7, box)
    counted = np.zeros_like(expected)
    np.add.at(counted, (i, j), 1)
    np.testing.assert_array_equal(counted, expected)
    assert len(i) > 5 and (np.linalg.norm(first[i] - second[j] - shift, axis=1) <= 0.7).all()
    assert (
        len(near_pairs(first[:0], second, 0.7, box)[0])
        == len(near_pairs(first, second[:0], 0.7, box)[0])
        == 0
    )
