"""Handedness and cis peptides."""

import numpy as np
import pytest

from backmap.evaluation import score
from backmap.evaluation.stereochemistry import alpha_centres, beta_centres, is_cis, right_handed

from .peptide import build

MIRROR = np.array([1.0, 1.0, -1.0])


def test_l_peptide_is_right_handed_and_its_mirror_image_is_not():
    topology, atoms = build("AVGLIT")
    centres = alpha_centres(topology)
    with_centre = topology.residue_types != topology.residue_types[2]
    assert right_handed(np.nan_to_num(atoms), centres)[with_centre].all()
    assert not right_handed(np.nan_to_num(atoms * MIRROR), centres)[with_centre].any()
    assert (centres[2] == -1).all()


def test_d_amino_acid_lowers_the_share_of_l():
    topology, atoms = build("AAAAAA")
    wrong = atoms.copy()
    backbone = wrong[3, [0, 1, 2]]  # reflect CB through the plane N, CA, C
    normal = np.cross(backbone[0] - backbone[1], backbone[2] - backbone[1])
    normal /= np.linalg.norm(normal)
    wrong[3, 4] -= 2 * ((wrong[3, 4] - backbone[1]) @ normal) * normal
    present = np.isfinite(atoms[..., 0])
    measures = score(topology, atoms[None], wrong[None, None], present, present).measures
    assert measures["chirality"]["interior"].value == pytest.approx(75)
    assert measures["chirality"]["all"].value == pytest.approx(100 * 5 / 6)
    assert measures["chirality"]["all"].reference == 100
    assert measures["bond"]["all"].value == 100


@pytest.mark.parametrize(("name", "first", "second"), [("I", 5, 6), ("T", 5, 6)])
def test_second_centre_of_ile_and_thr(name, first, second):
    topology, atoms = build(f"A{name}A")
    centres = beta_centres(topology)
    assert (centres[[0, 2]] == -1).all()
    assert right_handed(np.nan_to_num(atoms), centres)[1]
    atoms[1, [first, second]] = atoms[1, [second, first]]
    assert not right_handed(np.nan_to_num(atoms), centres)[1]


def test_cis_is_within_30_degrees_of_zero():
    np.testing.assert_array_equal(is_cis(np.array([0.0, 29.9, -29.9, 30.1, 180.0])), [1, 1, 1, 0, 0])


def test_cis_peptides_are_counted_apart_for_proline():
    topology, atoms = build("AAAPAPAA", omega={2: 5.0, 3: -10.0})
    _, straight = build("AAAPAPAA")
    present = np.isfinite(atoms[..., 0])
    linked = topology.linked()
    measures = score(topology, straight[None], atoms[None, None], present, present, linked=linked).measures
    assert measures["cis"]["all"].value == pytest.approx(100 / 5)
    assert measures["cis"]["interior"].value == pytest.approx(100 / 3)  # both residues of a bond inside
    assert measures["cis_proline"]["interior"].value == pytest.approx(50)
    assert measures["cis"]["all"].reference == 0


def test_twisted_peptides_are_neither_cis_nor_trans():
    topology, atoms = build("AAAAAA", omega={1: 179.0, 2: 149.0, 3: -151.0, 4: 31.0, 5: -29.0})
    measures = score(topology, None, atoms[None, None], sample_present=np.isfinite(atoms[..., 0])).measures
    assert measures["twisted"]["all"].value == pytest.approx(40)
    assert measures["cis"]["all"].value == pytest.approx(20)
