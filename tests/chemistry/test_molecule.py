import json

import numpy as np
import pytest

from backmap.chemistry import LinearMapping, Molecule
from backmap.models.configuration import config_from_dict


@pytest.fixture
def butane() -> Molecule:
    return Molecule(("C1", "C2", "C3", "C4"), ("C",) * 4, ("BUT",) * 4, (1,) * 4, ((1, 0), (1, 2), (3, 2)))


def test_bond_distances_count_bonds(butane):
    assert butane.bond_distances(0).tolist() == [0, 1, 2, 3]
    apart = Molecule(("A", "B"), ("C", "C"), ("X", "X"), (1, 2), ())
    assert apart.bond_distances(1).tolist() == [-1, 0]


def test_a_molecule_survives_json(butane):
    assert config_from_dict(Molecule, json.loads(json.dumps(butane.to_dict()))) == butane


def test_atoms_are_named_in_messages(butane):
    assert butane.describe(2) == "residue 1 BUT atom C3"


def test_a_bond_beyond_the_molecule_is_refused():
    with pytest.raises(ValueError, match="bond 0-2 refers to an atom beyond the 2 of the molecule"):
        Molecule(("A", "B"), ("C", "C"), ("X", "X"), (1, 1), ((0, 2),))


def test_beads_on_atoms(butane):
    mapping = LinearMapping.from_atoms([3, 0], butane)
    coordinates = np.random.default_rng(0).normal(size=(5, 4, 3))
    assert np.array_equal(mapping.apply(coordinates), coordinates[:, [3, 0]])
    assert mapping.bead_atoms == (3, 0)
    assert mapping.bead_names == ("C4", "C1")


def test_beads_as_means_of_atoms_survive_json(butane):
    mapping = LinearMapping(np.array([[0.25, 0.75, 0, 0], [0, 0, 0.5, 0.5]]), ("A", "B"))
    again = LinearMapping.from_dict(json.loads(json.dumps(mapping.to_dict())))
    assert np.array_equal(again.weights, mapping.weights)
    assert again.bead_atoms is None
    coordinates = np.eye(4, 3)
    assert np.allclose(again.apply(coordinates)[0], 0.25 * coordinates[0] + 0.75 * coordinates[1])


def test_shares_that_do_not_sum_to_one_are_refused():
    with pytest.raises(ValueError, match="bead B sum to 0.9, not 1"):
        LinearMapping(np.array([[1.0, 0.0], [0.0, 0.9]]), ("A", "B"))


def test_a_bead_on_no_atom_is_refused(butane):
    with pytest.raises(ValueError, match="bead atom 4 is beyond the 4 atoms"):
        LinearMapping.from_atoms([0, 4], butane)


@pytest.mark.parametrize(
    "change",
    [
        {"bead_names": ["A"]},
        {"bead_atoms": [[0, 1], [2, 4]]},
        {"bead_atoms": [[0, 1], [2, -1]]},
        {"bead_atoms": [[0, 1], [2]]},
        {"bead_weights": [[0.25, 0.75]]},
        {"atoms": 10**9},
    ],
    ids=str,
)
def test_tables_of_mappings_that_do_not_agree_are_refused(change):
    mapping = LinearMapping(np.array([[0.25, 0.75, 0, 0], [0, 0, 0.5, 0.5]]), ("A", "B"))
    with pytest.raises(ValueError):
        LinearMapping.from_dict(mapping.to_dict() | change)


@pytest.mark.parametrize("name", ["", "C A", "C\nA", "A" * 40, "\ud800", "\x00"])
def test_names_that_files_cannot_hold_are_refused(name):
    with pytest.raises(ValueError, match="name"):
        Molecule((name,), ("C",), ("X",), (1,), ())
