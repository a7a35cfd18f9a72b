"""Forces of mapped forces and noise, judged by a harmonic well, whose force with noise is known."""

from __future__ import annotations

import numpy as np
import pytest

from backmap.datasets.mapped_forces import MappedForces
from backmap.training.cg_noise import ForcesAndNoise

KT, NOISE = 2.5, 0.03
STIFFNESS = np.array([[900.0, -600.0], [-600.0, 1500.0]])
"""Of two beads on springs to the origin and to each other, kJ/mol/nm^2."""
N = 60_000


@pytest.fixture(scope="module")
def well() -> MappedForces:
    """Beads of the canonical ensemble; atoms that nobody sees push both of them."""
    generator = np.random.default_rng(0)
    beads = generator.multivariate_normal([0, 0], KT * np.linalg.inv(STIFFNESS), (N, 3)).transpose(0, 2, 1)
    hidden = generator.multivariate_normal([0, 0], [[3600.0, 3000.0], [3000.0, 4900.0]], (N, 3))
    forces = -STIFFNESS @ beads + hidden.transpose(0, 2, 1)
    return MappedForces(beads.astype(np.float32), forces.astype(np.float32), np.ones(N))


def fitted(noisy: np.ndarray, forces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the linear force (beads, beads) closest to some, and the mean square it leaves on each bead."""
    y, f = (array.transpose(0, 2, 1).reshape(-1, 2).astype(np.float64) for array in (noisy, forces))
    linear = np.linalg.lstsq(y, f, rcond=None)[0]
    return linear.T, np.square(f - y @ linear).mean(axis=0)


@pytest.mark.parametrize("weights", [None, np.zeros((2, 2)), np.eye(2), np.array([[0.3, 0.2], [-0.4, 0.7]])])
def test_what_fits_best_is_the_force_of_the_well_with_noise(well, weights):
    """It is so for the best weights, for noise or forces on their own, and for any others."""
    targets = ForcesAndNoise.optimal(well, NOISE, KT)
    if weights is not None:
        targets = ForcesAndNoise(NOISE, KT, weights)
    noisy, forces = targets.draw(well.beads, well.forces, np.random.default_rng(1))
    expected = -KT * np.linalg.inv(KT * np.linalg.inv(STIFFNESS) + NOISE**2 * np.eye(2))
    found, _ = fitted(noisy, forces)
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()
    assert np.abs(found + STIFFNESS).max() > 0.2 * np.abs(expected).max()


def test_the_weights_leave_the_least_noise(well):
    best = ForcesAndNoise.optimal(well, NOISE, KT)

    def left(weights: np.ndarray) -> np.ndarray:
        targets = ForcesAndNoise(NOISE, KT, weights)
        return fitted(*targets.draw(well.beads, well.forces, np.random.default_rng(1)))[1]

    least = left(best.weights)
    assert (least < 0.9 * left(np.zeros((2, 2)))).all() and (least < 0.9 * left(np.eye(2))).all()
    for bead in range(2):
        for other in range(2):
            for change in (-0.1, 0.1):
                weights = best.weights.copy()
                weights[bead, other] += change
                assert left(weights)[bead] > least[bead]


def test_frames_without_forces_teach_by_noise(well):
    """They have the noise as their force, count by its variance, and do not change what fits best."""
    forces = well.forces.copy()
    forces[::3] = np.nan
    some = MappedForces(well.beads, forces, well.weights)
    targets = ForcesAndNoise.optimal(some, NOISE, KT)
    assert targets.weights == pytest.approx(
        ForcesAndNoise.optimal(well, NOISE, KT).weights, rel=0.05, abs=0.01
    )
    noisy, learned = targets.draw(some.beads, some.forces, np.random.default_rng(1))
    assert learned[::3] == pytest.approx(-KT / NOISE**2 * (noisy - well.beads)[::3], abs=0.05)
    assert np.isfinite(learned).all()
    of_noise, of_both = (
        np.square(learned[rows]).mean(axis=(0, 2)) for rows in (some.has_forces == 0, some.has_forces)
    )
    confidence = targets.confidence(some.forces)
    assert (confidence[some.has_forces] == 1).all()
    assert confidence[0, :, 0] == pytest.approx(of_both / of_noise, rel=0.03)
    expected = -KT * np.linalg.inv(KT * np.linalg.inv(STIFFNESS) + NOISE**2 * np.eye(2))
    found, _ = fitted(noisy[::3], learned[::3])
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    with pytest.raises(ValueError, match=r"without forces teach by noise only; set model\.noise_nm"):
        ForcesAndNoise.optimal(some, 0.0, KT)


def test_one_bead_has_the_weight_of_inverse_variances(well):
    first = MappedForces(well.beads[:, :1], well.forces[:, :1], well.weights)
    variance, noise = np.square(first.forces.astype(np.float64)).mean(), (KT / NOISE) ** 2
    assert ForcesAndNoise.optimal(first, NOISE, KT).weights == pytest.approx(noise / (variance + noise))


def test_without_noise_beads_and_forces_stay(well):
    targets = ForcesAndNoise.optimal(well, 0.0, KT)
    beads, forces = targets.draw(well.beads, well.forces, np.random.default_rng(0))
    assert beads is well.beads and forces is well.forces
    assert np.array_equal(targets.weights, np.eye(2))
    assert targets.rows(well, np.array([0.0, 0.5, 0.99999])).tolist() == [0, N // 2, N - 1]


def test_with_noise_frames_are_drawn_by_weight(well):
    weights = np.tile([0.0, 1.5, 0.0, 2.5], N // 4)
    biased = MappedForces(well.beads, well.forces, weights)
    targets = ForcesAndNoise.optimal(biased, NOISE, KT)
    rows = targets.rows(biased, np.random.default_rng(2).random(N))
    shares = np.bincount(rows % 4, minlength=4) / N
    assert shares == pytest.approx([0.0, 0.375, 0.0, 0.625], abs=0.01)
    assert np.array_equal(targets.rows(well, (np.arange(N) + 0.5) / N), np.arange(N))


def test_weights_of_a_few_frames_are_refused(well):
    weights = np.full(N, 1e-9)
    weights[:20] = 1.0
    with pytest.raises(ValueError, match=r"as much as 20 frames.*set model\.noise_nm to 0"):
        ForcesAndNoise.optimal(MappedForces(well.beads, well.forces, weights / weights.mean()), NOISE, KT)
