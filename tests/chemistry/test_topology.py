from dataclasses import replace

import numpy as np
import pytest

from backmap.chemistry import SLOT_C, SLOT_N, SLOT_OXT, Topology
from backmap.chemistry.ideal_geometry import PLACEMENTS, ideal_bond_lengths
from backmap.chemistry.topology import number_steps


def test_two_chains():
    topology = Topology.from_sequences("ACD", "GP")
    assert topology.n_residues == 5
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


def test_segments_between_breaks_become_chains():
    topology = replace(Topology.from_sequences("AAAA", "GG", "CC"), rings=(1,))
    linked = topology.linked()
    linked[[0, 6]] = False
    divided = topology.divided_at_breaks(linked)
    assert divided.chain_index.tolist() == [0, 1, 1, 1, 2, 2, 3, 4]
    assert divided.chain_ids == ("A", "A", "B", "C", "C") and divided.rings == (2,)
    assert np.array_equal(divided.linked(), linked)
    assert np.array_equal(topology.divided_at_breaks(topology.linked()).chain_index, topology.chain_index)


def along_x(distances: list[float]) -> np.ndarray:
    """(residues, 3) C-alphas in nm on a line, so far apart."""
    c_alpha = np.zeros((len(distances) + 1, 3))
    c_alpha[1:, 0] = np.cumsum(distances)
    return c_alpha


def test_a_stretched_bond_is_no_break():
    topology = Topology.from_sequences("AAAAAAA")
    linked = topology.linked(along_x([0.38, 0.28, 0.50, 0.19, 0.53, 0.38]))
    assert linked.tolist() == [True, True, True, False, False, True, False]


def test_where_a_number_is_left_out_a_shorter_distance_is_a_break():
    topology = replace(
        Topology.from_sequences("AAAAA"),
        residue_numbers=np.array([1, 2, 4, 7, 7]),
        insertion_codes=("", "", "", "", "A"),
    )
    linked = topology.linked(along_x([0.50, 0.48, 0.46, 0.50]))
    assert linked.tolist() == [True, False, True, True, False]


@pytest.mark.parametrize(("spread", "longest"), [(0.0, 0.41), (0.009, 0.4467), (0.03, 0.47)])
def test_how_soft_bonds_are_decides_across_a_gap(spread, longest):
    bonds = 0.38 + spread * np.tile([-1.0, 1.0], 20)
    topology = replace(Topology.from_sequences("A" * 42), residue_numbers=np.append(np.arange(41), 45))
    assert topology.linked(along_x([*bonds, longest - 0.002]))[40]
    assert not topology.linked(along_x([*bonds, longest + 0.002]))[40]


def test_numbers_that_wrap_go_on():
    numbers = np.array([9998, 9999, 0, 1, 5, 3, 3, 99999, 0])
    steps = number_steps(numbers, ("",) * 9)
    assert steps.tolist() == [1, 1, 1, 4, -2, 0, 99996, 1]


def test_the_first_frame_tells_where_the_breaks_are():
    topology = Topology.from_sequences("AAA")
    whole, broken = along_x([0.38, 0.38]), along_x([0.38, 0.9])
    assert topology.linked(np.stack([whole, broken, broken])).tolist() == [True, True, False]
    assert topology.linked(np.stack([broken, whole, whole])).tolist() == [True, False, False]


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
