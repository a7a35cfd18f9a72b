from __future__ import annotations

import math

import pytest
import torch

from backmap.cg.langevin import LangevinDynamics, ReplicaState, is_sound

KT, STIFFNESS = 2.5, 4.0e3
MASSES = torch.tensor([12.0, 30.0])


def springs(positions: torch.Tensor) -> torch.Tensor:
    """Each bead on a spring to the origin."""
    return -STIFFNESS * positions


def dynamics(seed: int = 1, friction: float = 20.0, time_step: float = 0.01) -> LangevinDynamics:
    return LangevinDynamics(springs, MASSES, KT, time_step_ps=time_step, friction_per_ps=friction, seed=seed)


def spread(state: ReplicaState) -> torch.Tensor:
    """Variance of each bead's coordinates over replicas."""
    return state.absolute.square().mean(dim=(0, 2))


def test_positions_have_the_variance_of_the_canonical_ensemble():
    """BAOAB gives a harmonic oscillator its exact variance of positions at any time step."""
    n = 4_000
    state = dynamics().begin(torch.zeros(1, 2, 3), n)
    # The molecule is free in space elsewhere; here springs hold it, so origins must not be taken off.
    x, v = state.positions, state.velocities
    for frame in range(1, 4):
        state = dynamics().advance(ReplicaState(x, v, torch.zeros(n, 3, dtype=torch.float64)), frame, 100)
        x, v = state.absolute.float(), state.velocities
    expected = KT / STIFFNESS
    error = math.sqrt(2 / (3 * n))
    assert spread(state) == pytest.approx(torch.full((2,), expected, dtype=torch.float64), rel=5 * error)


def test_without_friction_energy_stays():
    start = 0.02 * torch.randn(50, 2, 3, generator=torch.Generator().manual_seed(2))

    def energy(state: ReplicaState) -> torch.Tensor:
        kinetic = 0.5 * (MASSES[:, None] * state.velocities.square()).sum(dim=(1, 2))
        return kinetic + 0.5 * STIFFNESS * state.absolute.square().sum(dim=(1, 2)).float()

    free = dynamics(friction=0.0, time_step=0.001)
    before = ReplicaState(start, torch.zeros_like(start), torch.zeros(50, 3, dtype=torch.float64))
    # One frame only: the next would start from the centre, which these springs are not attached to.
    after = free.advance(before, 1, 200)
    torch.testing.assert_close(energy(after), energy(before), rtol=2e-3, atol=1e-3)


def test_a_frame_depends_on_its_number_alone():
    start = torch.zeros(3, 2, 3) + torch.arange(3)[:, None, None]
    first = dynamics().begin(start, 5)
    assert torch.equal(dynamics().begin(start, 5).velocities, first.velocities)
    second = dynamics().advance(first, 1, 7)
    again = dynamics().advance(first, 1, 7)
    assert torch.equal(second.positions, again.positions)
    assert not torch.equal(dynamics().advance(first, 2, 7).positions, second.positions)
    assert not torch.equal(dynamics(seed=2).advance(first, 1, 7).positions, second.positions)


def test_replicas_do_not_depend_on_their_number():
    start = torch.zeros(1, 2, 3)
    few, many = dynamics().begin(start, 2), dynamics().begin(start, 9)
    assert torch.equal(few.velocities, many.velocities[:2])
    few, many = dynamics().advance(few, 1, 5), dynamics().advance(many, 1, 5)
    assert torch.equal(few.positions, many.positions[:2])
    assert len({tuple(row) for row in many.positions.flatten(1).tolist()}) == 9


def test_noise_made_in_pieces_is_the_same(monkeypatch):
    start = torch.zeros(1, 2, 3)
    state = dynamics().begin(start, 4)
    whole = dynamics().advance(state, 1, 10)
    monkeypatch.setattr("backmap.cg.langevin._NORMALS_AT_ONCE", 30)
    assert torch.equal(dynamics().advance(state, 1, 10).positions, whole.positions)


def test_the_centre_drifts_without_losing_digits():
    far = ReplicaState(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), torch.full((1, 3), 1e5).double())
    moved = dynamics().advance(far, 1, 3)
    near = ReplicaState(far.positions, far.velocities, torch.zeros(1, 3, dtype=torch.float64))
    torch.testing.assert_close(moved.absolute - 1e5, dynamics().advance(near, 1, 3).absolute)


@pytest.mark.parametrize(
    ("second", "sound"), [(0.15, True), (0.31, False), (0.07, False), (math.nan, False), (math.inf, False)]
)
def test_what_falls_apart_is_seen(second, sound):
    positions = torch.tensor([[[0.0, 0, 0], [second, 0, 0]]])
    assert is_sound(positions, torch.tensor([[0, 1]]), torch.tensor([0.15])).tolist() == [sound]
