"""Tabulated forces against those of the force field itself."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from backmap.cg.langevin import LangevinDynamics
from backmap.cg.model import CgForceField
from backmap.cg.tabulated import TabulatedForces, tabulate
from tests.cg.force_fields import small_force_field


@pytest.fixture(scope="module")
def force_field() -> CgForceField:
    """With torsions, handedness and a network that count."""
    force_field = small_force_field(scale=20.0)
    prior = force_field.prior
    generator = torch.Generator().manual_seed(1)
    prior.torsion_parameters += 3 * torch.randn(prior.torsion_parameters.shape, generator=generator)
    assert len(prior.centres) and (prior.centre_parameters[:, 1] > 0).all()
    return force_field


@pytest.fixture(scope="module")
def beads(force_field) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return force_field.start + 0.01 * torch.randn(force_field.start.shape, generator=generator)


def test_energies_and_forces_are_those_of_the_force_field(force_field, beads):
    exact = copy.deepcopy(force_field).double()
    energy, forces = exact.energy_and_forces(beads.double())
    rms = forces.square().mean().sqrt()
    for dtype, most in ((torch.float32, 1e-4), (torch.float64, 1e-5)):
        tabulated_energy, tabulated = TabulatedForces(exact, dtype).energy_and_forces(beads.to(dtype))
        assert tabulated.dtype == dtype and (tabulated_energy - energy).abs().max() < 1e-3
        assert (tabulated - forces).abs().max() < most * rms


def test_every_part_counts(force_field, beads):
    """So that an agreement of the sum is one of all parts."""
    for name in ("bond", "angle", "torsion", "centre"):
        changed = copy.deepcopy(force_field)
        getattr(changed.prior, f"{name}_parameters")[..., -1] *= 2
        assert (TabulatedForces(changed)(beads) - TabulatedForces(force_field)(beads)).abs().max() > 1.0
    changed = copy.deepcopy(force_field)
    changed.prior.pair_sigma *= 1.5
    assert (TabulatedForces(changed)(beads) - TabulatedForces(force_field)(beads)).abs().max() > 1e-2
    changed.scale *= 2
    energies = [TabulatedForces(one).energy_and_forces(beads)[0] for one in (changed, force_field)]
    assert (energies[0] - energies[1]).abs().max() > 1.0


def test_filters_between_knots(force_field):
    """The cubic polynomials are good to a millionth of the largest value."""
    for block in force_field.network.interactions:
        filters = copy.deepcopy(block.filters).double()
        table = tabulate(block.filters)
        spacing = filters.cutoff_nm / (len(table) - 1)
        between = (torch.arange(len(table) - 1, dtype=torch.float64) + 0.5) * spacing
        value, slope = table.unbind(1)
        middle = (value[:-1] + value[1:]) / 2 + spacing / 8 * (slope[:-1] - slope[1:])
        exact = filters(between)
        assert (middle - exact).abs().max() < 1e-6 * exact.abs().max()
        assert not table[-1].any()


def test_dynamics_follow_the_same_path(force_field):
    def simulate(forces):
        masses = torch.from_numpy(force_field.graph.masses)
        dynamics = LangevinDynamics(
            forces, masses, force_field.kt, time_step_ps=0.001, friction_per_ps=1.0, seed=3
        )
        return dynamics.advance(dynamics.begin(force_field.start, 4), frame=1, n_steps=40).absolute

    exact = simulate(lambda positions: force_field.energy_and_forces(positions)[1])
    with torch.inference_mode():
        torch.testing.assert_close(simulate(TabulatedForces(force_field)), exact, rtol=0, atol=1e-5)


def test_later_changes_of_the_force_field_have_no_effect(beads):
    force_field = small_force_field(scale=20.0)
    forces = TabulatedForces(force_field)
    before = forces(beads)
    with torch.no_grad():
        for parameter in [*force_field.parameters(), *force_field.prior.buffers(), force_field.scale]:
            parameter.zero_()
    assert torch.equal(forces(beads), before)
