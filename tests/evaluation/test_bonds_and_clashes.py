"""Bond lengths and overlapping residues."""

import numpy as np
import pytest

from backmap.chemistry import SLOT_C, SLOT_CA, SLOT_CB, SLOT_N, SLOT_O, Topology
from backmap.evaluation import score
from backmap.evaluation.bonds import bond_lengths
from backmap.evaluation.clashes import CLASH_DISTANCE_NM, bonds_and_clashes

from .oracle import clashing_residues
from .peptide import build


def stretched(by: float) -> dict:
    """Measures of five glycines with the bond C-O of the third one longer by a factor."""
    topology, atoms = build("GGGGG")
    longer = atoms.copy()
    longer[2, SLOT_O] = atoms[2, SLOT_C] + by * (atoms[2, SLOT_O] - atoms[2, SLOT_C])
    present = np.isfinite(atoms[..., 0])
    return score(topology, atoms[None], longer[None, None], present, present).measures


@pytest.mark.parametrize(("by", "wrong"), [(1.11, 1), (1.099, 0), (0.901, 0), (0.89, 1)])
def test_a_bond_is_wrong_beyond_ten_percent(by, wrong):
    bond = stretched(by)["bond"]
    assert bond["all"].value == pytest.approx(100 * (1 - wrong / 19))  # 5 x 3, and 4 peptide bonds
    assert bond["interior"].value == pytest.approx(100 * (1 - wrong / 11))  # 3 x 3, and 2 peptide bonds
    assert bond["all"].reference == 100


def test_lengths_are_distances():
    atoms = np.zeros((2, 15, 3))
    atoms[1, 3] = [0.3, 0.0, 0.4]
    np.testing.assert_allclose(bond_lengths(atoms, np.array([[0, 18], [0, 1]])), [0.5, 0.0])


def test_no_peptide_bond_across_a_break_of_the_reference():
    topology, atoms = build("GGGG")
    moved = atoms + np.where(np.arange(4) < 2, 0.0, 0.3)[:, None, None]
    present = np.isfinite(atoms[..., 0])
    assert (
        score(topology, atoms[None], moved[None, None], present, present).measures["bond"]["all"].value < 100
    )
    assert (
        score(topology, moved[None], atoms[None, None], present, present).measures["bond"]["all"].value == 100
    )


def test_without_a_reference_bonds_are_compared_with_ideal_lengths():
    topology, atoms = build("ACDEFGHIKLMNQRSTVWYA")
    atoms[7, SLOT_CB] = atoms[7, SLOT_CA] + 1.2 * (atoms[7, SLOT_CB] - atoms[7, SLOT_CA])
    card = score(topology, None, atoms[None, None], None, np.isfinite(atoms[..., 0]))
    assert card.measures["bond"]["all"].value < 100
    assert card.measures["bond"]["all"].reference is None
    assert not {"diversity", "chi1_recovery", "chi1_divergence", "rmsd", "consistency"} & set(card.measures)


def apart(distance: float, first: int, second: int, sequence: tuple[str, ...] = ("AA",)) -> np.ndarray:
    """Which of two alanines clash when slot ``first`` of one is so far (nm) from ``second`` of the other."""
    topology = Topology.from_sequences(*sequence)
    present = topology.atom_mask
    atoms = np.zeros((2, 15, 3))
    atoms[..., 0] = np.arange(15)  # all atoms 1 nm apart, the second residue 50 nm away
    atoms[1, :, 1] = 50.0
    atoms[1, second] = atoms[0, first] + [0.0, distance, 0.0]
    following = topology.following(topology.linked())
    none = np.empty((0, 2), dtype=np.int64)
    return bonds_and_clashes(atoms[None, None], present, following, none, np.empty(0))[1][0, 0]


@pytest.mark.parametrize(("distance", "clash"), [(0.119, True), (0.121, False)])
def test_a_clash_is_closer_than_1_2_angstrom(distance, clash):
    np.testing.assert_array_equal(apart(distance, SLOT_CB, SLOT_CB), [clash, clash])


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [(SLOT_C, SLOT_N, False), (SLOT_O, SLOT_CB, False), (SLOT_CB, SLOT_N, False), (SLOT_CB, SLOT_CB, True)],
)
def test_between_neighbours_only_side_chains_clash(first, second, clash):
    assert apart(0.1, first, second).any() == clash
    assert apart(0.1, first, second, ("A", "A")).all()  # of two chains: no neighbours


def test_absent_atoms_clash_with_nothing_and_have_no_bonds():
    topology, atoms = build("AGAGA")
    present = np.isfinite(atoms[..., 0])
    crowded = atoms.copy()
    crowded[4, SLOT_O] = crowded[0, SLOT_O]
    measures = score(topology, atoms[None], crowded[None, None], present, present).measures
    assert measures["clash"]["all"].value == pytest.approx(40)
    assert measures["clash"]["interior"].value == 0
    hidden = present.copy()
    hidden[4, SLOT_O] = False
    for masks in ((hidden, present), (present, hidden)):
        measures = score(topology, atoms[None], crowded[None, None], *masks).measures
        assert measures["clash"]["all"].value == 0
        assert measures["bond"]["all"].value == 100


def test_crowded_residues_match_a_tree_search():
    generator = np.random.default_rng(3)
    topology = Topology.from_sequences("ACDEFGHIKL", "MNPQRSTVWY")
    present = topology.atom_mask & (generator.random((20, 15)) > 0.1)
    atoms = generator.random((2, 3, 20, 15, 3))
    linked = topology.linked()
    none = np.empty((0, 2), dtype=np.int64)
    found = bonds_and_clashes(atoms, present, topology.following(linked), none, np.empty(0))[1]
    for index in np.ndindex(2, 3):
        expected = clashing_residues(atoms[index], present, linked, CLASH_DISTANCE_NM)
        np.testing.assert_array_equal(found[index], expected)
    assert 0 < found.mean() < 1
