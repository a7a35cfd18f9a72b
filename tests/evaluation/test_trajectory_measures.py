"""Distributions, velocities, geometry, surfaces, slow components and latent codes: known answers."""

import numpy as np
import pytest

from backmap.errors import InputError
from backmap.evaluation import bond_angle_histograms as geometry
from backmap.evaluation.distributions import compare
from backmap.evaluation.energy import compare_energies
from backmap.evaluation.free_energy_surface import (
    backbone_torsions,
    compare_surfaces,
    frame_weights,
    free_energy,
    torsion_edges,
)
from backmap.evaluation.latent_codes import correlate_with_energy, diversity_of_codes
from backmap.evaluation.tica import c_alpha_distances, project
from backmap.evaluation.velocities import compare_velocities, root_mean_square_velocities


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def test_a_distribution_against_itself_and_against_one_far_away(generator):
    values = generator.normal(size=4000)
    same, away = compare(values, values), compare(values, values + 100.0)
    assert same.divergence == 0.0
    assert 0.0 < same.floor < 0.2
    assert away.divergence == pytest.approx(1.0)
    assert away.counts["sample"][-1] == len(values)
    assert away.mean["sample"] == pytest.approx(values.mean() + 100.0)


def test_velocities_of_uniform_motion_and_without_drift():
    positions = np.zeros((4, 2, 3))
    positions[:, 0, 0] = 0.3 * np.arange(4)
    positions[:, 1, 0] = -0.3 * np.arange(4)
    np.testing.assert_allclose(root_mean_square_velocities(positions, 2.0), 0.15)
    drifting = positions + np.arange(4)[:, None, None]
    np.testing.assert_allclose(root_mean_square_velocities(drifting, 2.0), 0.15)


def test_scaled_velocities_give_the_factor_back(generator):
    reference = np.cumsum(generator.normal(size=(2000, 5, 3)), axis=0)
    found = compare_velocities([reference], [reference / 3.25], 1.0)
    assert found.scale == pytest.approx(3.25)
    assert found.plain.divergence > 0.9
    assert found.scaled.divergence < 1e-6


def test_velocities_do_not_cross_from_one_trajectory_to_the_next(generator):
    still = np.zeros((10, 3, 3)) + 0.001 * generator.normal(size=(10, 3, 3))
    turned = still + np.array([5.0, 0.0, -5.0])[:, None] * np.array([1.0, 0.0, 0.0])
    found = compare_velocities([still, turned], [still], 1.0)
    assert found.plain.mean["reference"] < 0.01
    with pytest.raises(InputError, match="does not move"):
        compare_velocities([still], [still[:1].repeat(5, axis=0)], 1.0)
    with pytest.raises(InputError, match="at least two successive frames"):
        compare_velocities([still], [still[:1]], 1.0)


def test_energies(generator):
    reference = generator.normal(0.0, 10.0, 20_000)
    found = compare_energies(reference, reference + 3.0)
    assert found.wasserstein == pytest.approx(3.0)
    assert compare_energies(reference, reference).beyond == pytest.approx(0.1)
    assert found.beyond > 0.1
    with pytest.raises(InputError, match="the sample's energies: frame 7 contains NaN"):
        compare_energies(reference, np.where(np.arange(20) == 7, np.nan, 0.0))


def test_bonds_and_angles_by_type(generator):
    elements, bonds = ["O", "H", "H"], np.array([[0, 1], [0, 2]])
    water = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.1, 0.0]])
    reference = np.repeat(water[None], 100, axis=0)
    sample = reference.copy()
    sample[:10, 1, 0] = 0.12
    found = geometry.compare_bonds_and_angles(reference, sample, elements, bonds)
    assert list(found.bonds) == ["H-O2"]
    assert list(found.angles) == ["H-O2-H"]
    assert found.angles["H-O2-H"].mean == pytest.approx({"reference": 90.0, "sample": 90.0})
    assert found.bond_score == pytest.approx({"reference": 100.0, "sample": 95.0})
    assert found.whole_frames == pytest.approx({"reference": 100.0, "sample": 90.0})
    assert found.bonds["H-O2"].divergence > 0.0
    assert found.angles["H-O2-H"].divergence == 0.0


def test_types_read_the_same_from_both_ends():
    bonds = np.array([[0, 1], [1, 2], [2, 3]])
    types = geometry.atom_types(["H", "C", "N", "H"], bonds)
    assert types == ["H", "C2", "N2", "H"]
    assert list(geometry.group_by_type(geometry.angles_of(bonds), types)) == ["C2-N2-H", "H-C2-N2"]


def test_free_energies_of_known_populations():
    surface = free_energy(np.array([[0.5, 0.5 * np.exp(-1.0)], [0.0, 0.1]]), temperature=300.0)
    assert surface[0, 1] - surface[0, 0] == pytest.approx(8.31446e-3 * 300.0, rel=1e-5)
    assert np.isinf(surface[1, 0])


def test_surfaces_of_equal_and_of_disjoint_samples(generator):
    first = generator.uniform(-170.0, -10.0, (3000, 2))
    even = {side: np.full(3000, 1 / 3000) for side in ("reference", "sample")}
    same = compare_surfaces({"reference": first, "sample": first}, even, torsion_edges(), 300.0)
    assert (same.divergence, same.plain_divergence) == (0.0, 0.0)
    other = compare_surfaces({"reference": first, "sample": -first}, even, torsion_edges(), 300.0)
    assert other.divergence == pytest.approx(1.0)


def test_weights_give_each_state_its_stationary_probability():
    assignments = [np.array([0, 0, 0, 1]), np.array([2, 1])]
    weights = frame_weights(assignments, np.array([0.6, 0.4, 0.0]))
    np.testing.assert_allclose(weights, [0.2, 0.2, 0.2, 0.2, 0.0, 0.2])


def test_torsions_of_four_points():
    points = np.array([[[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    assert abs(backbone_torsions(points, np.array([[0, 1, 2, 3]]))[0, 0]) == pytest.approx(90.0)


def test_the_slow_distance_is_the_first_component(generator):
    slow = np.sign(np.sin(np.arange(4000) / 200.0))
    positions = generator.normal(0.0, 0.05, (4000, 4, 3))
    positions[:, 3, 0] += 2.0 + slow
    distances = c_alpha_distances(positions, np.arange(4))
    assert distances.shape == (4000, 6)
    found = project([distances], [distances[:500]], lag=10)
    assert abs(np.corrcoef(found.reference[0][:, 0], slow)[0, 1]) > 0.99
    np.testing.assert_array_equal(found.samples[0], found.reference[0][:500])
    assert found.time_scales[0] > 10 * found.time_scales[1]
    with pytest.raises(InputError, match="longer than the lag time of 50 frames"):
        project([distances[:40]], [distances], lag=50)


def test_latent_component_that_is_the_energy(generator):
    energies = generator.normal(size=5000)
    codes = generator.normal(size=(5000, 4))
    codes[:, 2] -= 10.0 * energies
    found = correlate_with_energy(codes, energies)
    assert found.correlation > 0.99
    assert np.corrcoef(found.component, found.energy)[0, 1] > 0.99
    assert found.variance_share == pytest.approx(101.0 / 104.0, abs=0.02)
    assert len(found.component) == 2000
    with pytest.raises(InputError, match="one row per frame"):
        correlate_with_energy(codes[:10], energies)
    with pytest.raises(InputError, match="do not vary"):
        correlate_with_energy(np.ones((10, 2)), energies[:10])


def test_diversity_of_codes(generator):
    bonds, usual = np.array([[0, 1]]), np.array([0.1])
    structures = np.zeros((100, 3, 3))
    structures[:, 1, 0] = 0.1
    structures[:, 2] = generator.normal(0.0, 0.02, (100, 3))
    structures[:5, 1, 0] = 0.2
    found = diversity_of_codes(structures, bonds, usual)
    assert found.valid == 95.0
    assert found.spread[0] == 0.0
    assert found.spread[2] == pytest.approx(0.02 * np.sqrt(3), rel=0.1)
    assert diversity_of_codes(structures[5:7].repeat(2, axis=0)[:2], bonds, usual).rmsd == 0.0
    with pytest.raises(InputError, match="at least two"):
        diversity_of_codes(structures[:1], bonds, usual)
