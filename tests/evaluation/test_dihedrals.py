"""Torsions and their distributions."""

import numpy as np
import pytest

from backmap.chemistry import RESIDUE_INDEX
from backmap.evaluation.dihedrals import (
    TORSIONS,
    angular_distance,
    count_by_type,
    dihedral_angles,
    divergence_by_type,
    fold_symmetric,
    jensen_shannon_distance,
    torsion_atoms,
)

from .peptide import build


@pytest.fixture(scope="module")
def leucines():
    topology, atoms = build("ALLLA", phi=-70.0, psi=150.0, omega={2: -170.0}, chi=65.0)
    return topology, atoms, torsion_atoms(topology, topology.linked())


@pytest.mark.parametrize(
    ("torsion", "residue", "expected"),
    [
        ("chi1", 1, 65.0),
        ("chi2", 3, 65.0),
        ("phi", 2, -70.0),
        ("psi", 2, 150.0),
        ("omega", 2, -170.0),
        ("omega", 3, 180.0),
    ],
)
def test_angles_are_those_the_peptide_was_built_with(leucines, torsion, residue, expected):
    _, atoms, indices = leucines
    angles = dihedral_angles(np.nan_to_num(atoms), indices[TORSIONS.index(torsion)])
    assert angular_distance(angles[residue], expected) < 1e-3


def test_torsions_end_with_the_chain(leucines):
    _, _, indices = leucines
    exists = (indices >= 0).all(axis=-1)
    np.testing.assert_array_equal(exists[TORSIONS.index("phi")], [False, True, True, True, True])
    np.testing.assert_array_equal(exists[TORSIONS.index("omega")], [False, True, True, True, True])
    np.testing.assert_array_equal(exists[TORSIONS.index("psi")], [True, True, True, True, False])
    np.testing.assert_array_equal(exists[TORSIONS.index("chi1")], [False, True, True, True, False])


def test_angular_distance_goes_the_short_way():
    np.testing.assert_allclose(angular_distance(np.array([175.0, -40.0]), np.array([-175.0, 40.0])), [10, 80])


def test_two_fold_torsions_fold_and_others_do_not():
    types = np.array([RESIDUE_INDEX["PHE"], RESIDUE_INDEX["LEU"]])
    np.testing.assert_allclose(fold_symmetric(np.array([170.0, 170.0]), "chi2", types), [-10.0, 170.0])
    np.testing.assert_allclose(fold_symmetric(np.array([170.0, 170.0]), "chi1", types), [170.0, 170.0])


def test_bins_are_ten_degrees_from_minus_180():
    angles = np.array([[-180.0, -170.1, -170.0, 179.9, 180.0]])
    counts = count_by_type(angles, np.zeros(5, dtype=int), np.ones(5, dtype=bool))
    assert counts[0, 0] == 3  # 180 is -180
    assert counts[0, 1] == 1
    assert counts[0, 35] == 1
    assert counts[1:].sum() == 0


def test_jensen_shannon_distance_of_known_distributions():
    one, other = np.array([4.0, 0.0]), np.array([0.0, 7.0])
    assert jensen_shannon_distance(one, one) == 0
    assert jensen_shannon_distance(one, other) == pytest.approx(1)
    half = np.array([1.0, 1.0])
    expected = 0.5 * np.log2(4 / 3) + 0.25 * np.log2(2 / 3) + 0.25 * np.log2(2)
    assert jensen_shannon_distance(one, half) == pytest.approx(np.sqrt(expected))
    assert np.isnan(jensen_shannon_distance(one, np.zeros(2)))


def test_floor_is_what_two_samples_of_one_distribution_differ_by():
    generator = np.random.default_rng(5)
    odds = generator.dirichlet(np.ones(36))
    pairs = generator.multinomial(2000, odds, size=(200, 2))
    expected = jensen_shannon_distance(pairs[:, 0], pairs[:, 1]).mean()
    _, floor = divergence_by_type(pairs[:1, 0], pairs[:1, 1])
    assert floor[0] == pytest.approx(expected, rel=0.1)


def test_floor_is_reproducible_and_nan_without_counts():
    counts = np.zeros((20, 36), dtype=int)
    counts[3] = 5
    first, second = divergence_by_type(counts, counts), divergence_by_type(counts, counts)
    np.testing.assert_array_equal(first, second)
    assert np.isfinite(first[1]).sum() == 1
