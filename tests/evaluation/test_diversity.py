"""RMSD with equivalent atoms, and the diversity of samples."""

import numpy as np
import pytest

from backmap.evaluation import score
from backmap.evaluation.diversity import diversity, jackknife_error, leave_one_out, rmsd, squared_distances
from backmap.evaluation.regions import residue_regions

from .peptide import build


def measures_of(sequence: str, samples_of) -> dict:
    topology, atoms = build(sequence)
    present = np.isfinite(atoms[..., 0])
    return score(topology, atoms[None], samples_of(atoms)[:, None], present, present).measures


@pytest.mark.parametrize("letter", "RDEFY")
def test_exchanging_equivalent_atoms_changes_nothing(letter):
    pairs = {"R": [(9, 10)], "D": [(6, 7)], "E": [(7, 8)], "F": [(6, 7), (8, 9)], "Y": [(6, 7), (8, 9)]}

    def renamed(atoms):
        other = atoms.copy()
        for first, second in pairs[letter]:
            other[1, [first, second]] = atoms[1, [second, first]]
        return other[None]

    measures = measures_of(f"A{letter}A", renamed)
    assert measures["rmsd"]["all"].value == pytest.approx(0, abs=1e-9)
    if letter in "DFY":
        assert measures["chi2_divergence"]["interior"].value == pytest.approx(0)


def test_leucine_has_no_equivalent_atoms():
    measures = measures_of("ALA", lambda atoms: atoms[None][:, :, [0, 1, 2, 3, 4, 5, 7, 6, *range(8, 15)]])
    assert measures["rmsd_side_chain"]["all"].value > 1


def test_rmsd_of_a_shift_is_its_length():
    measures = measures_of("AFDG", lambda atoms: atoms[None] + [0.003, 0.0, 0.004])
    for name in ("rmsd", "rmsd_backbone", "rmsd_side_chain", "consistency"):
        assert measures[name]["interior"].value == pytest.approx(0.05)


def test_rmsd_counts_the_atoms_of_its_group():
    topology, atoms = build("AAAA")
    present = np.isfinite(atoms[..., 0])
    moved = atoms.copy()
    moved[1, 4, 0] += 0.1
    squared = squared_distances(np.nan_to_num(moved), np.nan_to_num(atoms), topology.residue_types, present)
    regions = residue_regions(topology)
    np.testing.assert_allclose(rmsd(squared, present, regions), [0.1 / np.sqrt(10), 0.1 / np.sqrt(20)])
    np.testing.assert_allclose(rmsd(squared, present, regions, "rmsd_side_chain")[0], 0.1 / np.sqrt(2))
    np.testing.assert_allclose(rmsd(squared, present, regions, "rmsd_backbone"), 0)


def test_equal_samples_have_diversity_one():
    measures = measures_of("AAAA", lambda atoms: np.repeat(atoms[None] + 0.01, 5, axis=0))
    assert measures["diversity"]["all"].value == pytest.approx(1)
    assert measures["diversity"]["all"].error == pytest.approx(0, abs=1e-9)


def test_diversity_of_shifts_along_three_axes():
    """Every sample is 1 from the reference, every two are sqrt(2) apart: 1 - sqrt(2)."""
    measures = measures_of("AAAA", lambda atoms: atoms[None] + 0.1 * np.eye(3)[:, None, None])
    assert measures["diversity"]["interior"].value == pytest.approx(1 - np.sqrt(2))


def test_diversity_averages_frames_and_the_jackknife_leaves_samples_out():
    to_reference = np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 2.0]])
    between = np.zeros((3, 3, 2))
    between[0, 1] = between[1, 0] = [1.0, 2.0]
    between[0, 2] = between[2, 0] = between[1, 2] = between[2, 1] = [1.0, 0.0]
    np.testing.assert_allclose(diversity(to_reference, between), [1 - 3 / 4, 1 - 1 / 3])
    left_out = leave_one_out(to_reference, between)
    np.testing.assert_allclose(left_out, [(1 / 3 + 1) / 2, (1 / 3 + 1) / 2, 0.0])
    assert jackknife_error(left_out) == pytest.approx(np.sqrt(2 / 3 * np.sum((left_out - 4 / 9) ** 2)))


def test_one_sample_has_no_diversity():
    assert np.isnan(diversity(np.ones((1, 4)), np.zeros((1, 1, 4)))).all()
    assert "diversity" not in measures_of("AAAA", lambda atoms: atoms[None] + 0.01)


@pytest.mark.parametrize("with_reference", [True, False])
def test_spread_is_the_mean_distance_between_samples(with_reference):
    topology, atoms = build("AAAA")
    present = np.isfinite(atoms[..., 0])
    samples = atoms + np.array([0.0, 0.01, 0.04])[:, None, None, None]
    reference = atoms[None] if with_reference else None
    measures = score(topology, reference, samples[:, None], present, present).measures
    expected = 10 * np.sqrt(3) * np.mean([0.01, 0.03, 0.04])
    assert measures["spread"]["all"].value == pytest.approx(expected)
    one = score(topology, reference, samples[:1, None], present, present).measures
    assert "spread" not in one
