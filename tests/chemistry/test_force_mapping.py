"""Forces on beads, judged where the mean force is known: atoms on springs, with constraints or without."""

from __future__ import annotations

import numpy as np
import pytest

from backmap.chemistry import LinearMapping
from backmap.chemistry.force_mapping import ForceMapping, constrained_hydrogens, groups_of

KT = 2.5


def sprung(n: int, seed: int, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions and forces (frames, atoms, 3) in equilibrium, and the matrix of force constants."""
    generator = np.random.default_rng(seed)
    random = generator.normal(size=(n, n))
    stiffness = random @ random.T + n * np.eye(n)
    positions = np.linalg.cholesky(KT * np.linalg.inv(stiffness)) @ generator.normal(size=(frames, n, 3))
    return positions, -stiffness @ positions, stiffness


def mean_force(mapping: LinearMapping, stiffness: np.ndarray) -> np.ndarray:
    """Matrix G with mean force -G X on beads at X: their covariance determines it."""
    return np.linalg.inv(mapping.weights @ np.linalg.inv(stiffness) @ mapping.weights.T)


MAPPINGS = {
    "atoms": np.eye(5)[[0, 3]],
    "means": np.array([[0.25, 0.75, 0, 0, 0], [0, 0, 0.2, 0.3, 0.5]]),
}


@pytest.mark.parametrize("kind", MAPPINGS)
@pytest.mark.parametrize("optimal", [False, True])
def test_the_mean_of_mapped_forces_is_the_mean_force(kind, optimal):
    mapping = LinearMapping(MAPPINGS[kind], ("A", "B"))
    positions, forces, stiffness = sprung(5, 1, 60_000)
    groups = groups_of(5, [])
    mapped = ForceMapping.optimal(mapping, groups, forces) if optimal else ForceMapping.basic(mapping, groups)
    beads, on_beads = mapping.apply(positions), mapped.apply(forces)
    x, f = (values.swapaxes(1, 2).reshape(-1, 2) for values in (beads, on_beads))
    fitted = np.linalg.lstsq(x, f, rcond=None)[0].T
    assert np.allclose(fitted, -mean_force(mapping, stiffness), atol=0.1)


def test_the_optimal_weights_leave_no_noise_where_none_is_needed():
    """On springs the mean force is itself a sum of the forces on atoms; its mean square is kT G."""
    mapping = LinearMapping(MAPPINGS["atoms"], ("A", "B"))
    _, forces, stiffness = sprung(5, 1, 20_000)
    groups = groups_of(5, [])
    basic, optimal = (
        np.square(mapped.apply(forces)).mean()
        for mapped in (ForceMapping.basic(mapping, groups), ForceMapping.optimal(mapping, groups, forces))
    )
    assert optimal == pytest.approx(KT * np.diag(mean_force(mapping, stiffness)).mean(), rel=0.02)
    assert optimal < basic


@pytest.mark.parametrize("optimal", [False, True])
def test_constrained_atoms_share_a_weight(optimal):
    mapping = LinearMapping(np.eye(5)[[0, 3]], ("A", "B"))
    groups = groups_of(5, [(0, 1), (3, 4)])
    forces = sprung(5, 2, 5_000)[1]
    mapped = ForceMapping.optimal(mapping, groups, forces) if optimal else ForceMapping.basic(mapping, groups)
    weights = mapped.weights
    assert np.allclose(weights[:, 0], weights[:, 1]) and np.allclose(weights[:, 3], weights[:, 4])
    assert np.allclose(weights @ mapping.weights.T, np.eye(2))
    if not optimal:
        assert np.allclose(weights, [[1, 1, 0, 0, 0], [0, 0, 0, 1, 1]])


def test_groups():
    assert groups_of(6, [(4, 1), (1, 2)]).tolist() == [0, 1, 1, 2, 1, 3]
    assert constrained_hydrogens("CHOH", [(0, 1), (0, 2), (2, 3)]) == [(0, 1), (2, 3)]


def test_beads_joined_by_a_constraint_are_refused():
    mapping = LinearMapping(np.eye(3)[[0, 1]], ("A", "B"))
    with pytest.raises(ValueError, match="cannot be told apart"):
        ForceMapping.basic(mapping, groups_of(3, [(0, 1)]))
