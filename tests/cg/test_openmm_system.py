"""The force field in OpenMM: energies and forces are those of PyTorch, and a simulation runs."""

from __future__ import annotations

import numpy as np
import pytest

from backmap.cg.openmm_system import make_openmm_system
from tests.cg.force_fields import small_force_field

openmm = pytest.importorskip("openmm")
unit = pytest.importorskip("openmm.unit")


def test_openmm_finds_the_same_energy_and_forces():
    force_field = small_force_field(scale=5.0)
    system = make_openmm_system(force_field)
    assert system.getNumParticles() == 6
    integrator = openmm.LangevinMiddleIntegrator(300, 1.0, 0.002)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(force_field.start[3].double().numpy())
    state = context.getState(energy=True, forces=True)
    energy, forces = force_field.energy_and_forces(force_field.start[3:4])
    found = state.getForces(asNumpy=True).value_in_unit(unit.kilojoules_per_mole / unit.nanometer)
    assert state.getPotentialEnergy()._value == pytest.approx(float(energy[0]), rel=1e-4, abs=1e-3)
    assert np.allclose(found, forces[0].numpy(), rtol=1e-4, atol=0.1)
    integrator.step(20)
    moved = context.getState(positions=True).getPositions(asNumpy=True)._value
    assert np.isfinite(moved).all() and not np.allclose(moved, force_field.start[3].numpy())
