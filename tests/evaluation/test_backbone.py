"""Ramachandran statistics, backbone angles and the place of CB."""

import numpy as np
import pytest

from backmap.chemistry import Topology
from backmap.chemistry.ideal_geometry import ideal_geometry
from backmap.evaluation import score
from backmap.evaluation.backbone_angles import angle_atoms, angle_statistics, bond_angles
from backmap.evaluation.c_beta import c_beta_deviations

from .peptide import build, place


def measures_of(topology, atoms, linked=None):
    present = np.isfinite(atoms[..., 0])
    return score(topology, None, atoms[None, None], sample_present=present, linked=linked).measures


def test_residues_are_favoured_or_outliers_by_their_class():
    # At (-100, 20) Ala, Gly and cis Pro are favoured, trans Pro is allowed, a residue before Pro an outlier.
    topology, atoms = build("AAGVPAPA", phi=-100.0, psi=20.0, omega={6: 0.0})
    measures = measures_of(topology, atoms, topology.linked())
    assert measures["ramachandran_favoured"]["all"].value == pytest.approx(100 * 3 / 6)
    assert measures["ramachandran_outliers"]["all"].value == pytest.approx(100 * 2 / 6)
    # Interior: neither the residue nor its neighbours stand at an end.
    assert measures["ramachandran_favoured"]["interior"].value == pytest.approx(100 * 1 / 4)
    assert measures["ramachandran_outliers"]["interior"].value == pytest.approx(100 * 2 / 4)


def test_a_break_leaves_no_phi_and_psi():
    topology, atoms = build("AAAVPAAA", phi=-100.0, psi=20.0)
    linked = topology.linked()
    linked[3] = False  # of 1, 2, 5 and 6, all general, none is before the proline
    measures = measures_of(topology, atoms, linked)
    assert measures["ramachandran_favoured"]["all"].value == 100
    assert measures["ramachandran_outliers"]["all"].value == 0


def test_angles_of_an_ideal_peptide():
    topology, atoms = build("AGLA")
    measures, peptide = measures_of(topology, atoms), ideal_geometry()["peptide"]["trans"]
    expected = {"ca_c_n": peptide["angle CA-C-N"], "c_n_ca": peptide["angle C-N-CA"], "n_ca_c": 1.935}
    for name, angle in expected.items():
        assert measures[f"angle_{name}"]["interior"].value == pytest.approx(np.degrees(angle), abs=0.01)
        assert measures[f"angle_{name}_spread"]["all"].value == pytest.approx(0, abs=0.7)
        assert measures[f"angle_{name}_off"]["all"].value == 0


def test_angles_belong_to_the_peptide_bond_behind_the_residue():
    topology = Topology.from_sequences("AG", "A")
    n, c_alpha, c = (1.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0)
    atoms = np.zeros((3, 15, 3))
    atoms[0, :3] = n, c_alpha, c  # 90 degrees at CA
    atoms[1, :2] = (1.0, 2.0, 0.0), (2.0, 2.0, 0.0)  # 135 at C, 135 at N
    indices = angle_atoms(topology, topology.linked())
    np.testing.assert_allclose([bond_angles(atoms, rows)[0] for rows in indices], [135.0, 135.0, 90.0])
    assert (indices[:2, 1:] == -1).all() and (indices[2] >= 0).all()


def test_statistics_of_known_angles():
    angles = np.array([100.0, 111.0, 122.0, 0.0])
    counted = np.array([[True, True, True, False], [False, True, False, False]])
    average, spread, off = angle_statistics(angles, 111.0, counted)
    np.testing.assert_allclose(average, [111.0, 111.0])
    np.testing.assert_allclose(spread, [np.sqrt(242 / 3), 0.0])
    np.testing.assert_allclose(off, [200 / 3, 0.0])
    edges = angle_statistics(np.array([121.1, 101.1, 100.9]), 111.0, np.ones((2, 3), dtype=bool))
    np.testing.assert_allclose(edges[2], 200 / 3)


@pytest.mark.parametrize(
    ("letter", "bond", "at_c", "over_c", "at_n", "over_n"),
    [
        ("A", 0.1536, 110.1, 122.9, 110.6, -122.6),
        ("P", 0.1530, 112.2, 115.1, 103.0, -120.7),
        ("V", 0.1540, 109.1, 123.4, 111.5, -122.0),
        ("K", 0.1530, 110.1, 122.8, 110.5, -122.6),
    ],
)
def test_deviation_of_c_beta_from_its_ideal_place(letter, bond, at_c, over_c, at_n, over_n):
    topology, atoms = build(f"G{letter}G")
    n, c_alpha, c = atoms[1, :3]
    by_c = place(n, c, c_alpha, bond, np.radians(at_c), np.radians(over_c))
    by_n = place(c, n, c_alpha, bond, np.radians(at_n), np.radians(over_n))
    towards = (by_c + by_n) / 2 - c_alpha
    ideal = c_alpha + bond * towards / np.linalg.norm(towards)
    # In good geometry both constructions nearly agree.
    assert np.linalg.norm(by_c - by_n) < 0.01
    for distance, outlier in ((0.0, 0), (0.0249, 0), (0.0251, 100)):
        atoms[1, 4] = ideal + distance * np.array([0.0, 0.6, 0.8])
        assert c_beta_deviations(atoms, topology.residue_types)[1] == pytest.approx(10 * distance, abs=1e-9)
        measures = measures_of(topology, atoms)
        assert measures["c_beta_deviation"]["interior"].value == pytest.approx(10 * distance, abs=1e-9)
        assert measures["c_beta_outliers"]["interior"].value == outlier


def test_c_alphas_that_were_given_are_those_that_may_have_moved():
    topology, atoms = build("AAAA")
    present = np.isfinite(atoms[..., 0])
    sample = atoms.copy()
    sample[:, 1, 0] += 0.01
    given = sample[None, :, 1] + [0.0, 0.0, 0.02]
    card = score(topology, atoms[None], sample[None, None], present, present, given_c_alpha=given)
    assert card.measures["consistency"]["all"].value == pytest.approx(0.2)
    card = score(topology, atoms[None], sample[None, None], present, present)
    assert card.measures["consistency"]["all"].value == pytest.approx(0.1)
