import numpy as np
import pytest

from backmap.chemistry import SLOT_C, SLOT_N, SLOT_OXT, Topology
from backmap.chemistry.ideal_geometry import PLACEMENTS, ideal_bond_lengths


def test_two_chains():
    topology = Topology.from_sequences("ACD", "GP")
    assert topology.residues == 5
    assert topology.chain_ends.tolist() == [False, False, True, False, True]
    assert topology.interior.tolist() == [False, True, False, False, False]
    assert topology.linked().tolist() == [True, True, False, True, False]
    assert topology.atom_mask[:, SLOT_OXT].tolist() == topology.chain_ends.tolist()
    assert topology.describe(4) == "chain B residue 2 PRO"


def test_bonds_are_within_residues_and_along_chains():
    topology = Topology.from_sequences("AG", "G")
    bonds = topology.bonds()
    peptide = [b for b in bonds.tolist() if b[0] // 15 != b[1] // 15]
    assert peptide == [[SLOT_C, 15 + SLOT_N]]
    assert [15 + SLOT_C, 15 + SLOT_OXT] in bonds.tolist()
    # ALA 4, GLY 3 + OXT, GLY 3 + OXT, one peptide bond
    assert len(bonds) == 4 + 4 + 4 + 1
    assert topology.atom_mask.reshape(-1)[bonds].all()


def test_break_is_found_from_the_median_distance():
    topology = Topology.from_sequences("AAA")
    frames = np.zeros((3, 3, 3))
    frames[:, 1, 0], frames[:, 2, 0] = 0.38, 0.76
    frames[0, 2, 0] = 0.9
    assert topology.linked(frames).tolist() == [True, True, False]
    frames[1, 2, 0] = 0.9
    assert topology.linked(frames).tolist() == [True, False, False]


def test_a_single_residue():
    topology = Topology.from_sequences("W")
    assert topology.linked(np.zeros((1, 1, 3))).tolist() == [False]
    assert not topology.interior.any()


def test_lengths_disagree():
    with pytest.raises(ValueError, match="chain_index has 1 entries for 2 residues"):
        Topology(np.array([0, 1]), np.array([0]), ("A",), np.array([1, 2]))


def test_ideal_bond_lengths_are_covalent():
    topology = Topology.from_sequences("ARNDCQEGHILKMFPSTWYV", "GP")
    lengths = ideal_bond_lengths(topology, topology.bonds())
    assert lengths.min() > 0.12 and lengths.max() < 0.185


def test_placements_stand_on_atoms_placed_before():
    for name, placements in PLACEMENTS.items():
        placed = {"N", "CA", "C", "O", "CB"}
        for placement in placements:
            assert set(placement.parents) <= placed, name
            placed.add(placement.atom)
