"""Short simulations: the operator against one step at a time, and both against what they promise."""

from __future__ import annotations

from dataclasses import replace

import mdtraj
import numpy as np
import pytest
import torch

from backmap.physics import Potential, force_field_from_files
from backmap.physics.force_field import ForceField
from backmap.physics.langevin import LangevinDynamics, LangevinSettings
from tests.models.temporal.dipeptide import BEAD_ATOMS, STRUCTURE, moving_dipeptide

pytest.importorskip("openmm")

FRAMES = 4
SETTINGS = LangevinSettings(step_ps=0.002, friction_per_ps=50.0, kt=2.5, largest_move_nm=0.002)
SURROUNDINGS = [["amber99sbildn.xml"], ["amber99sbildn.xml", "amber99_obc.xml"]]


def make_force_field(files: list[str]) -> ForceField:
    return force_field_from_files(mdtraj.load_topology(str(STRUCTURE)), files, constrain_hydrogens=True)


def make_dynamics(force_field: ForceField) -> LangevinDynamics:
    inverse = 1 / torch.from_numpy(force_field.masses).float().clamp(min=3.0)
    inverse[BEAD_ATOMS] = 0.0
    return LangevinDynamics(force_field, inverse, SETTINGS)


def with_harmonic_torsion(force_field: ForceField, stiffness: float) -> ForceField:
    """The same with a torsion of a kind that the operator does not have."""
    return replace(
        force_field,
        harmonic_torsions=np.array([[7, 6, 8, 9]]),
        harmonic_torsion_parameters=np.array([[0.0, stiffness]]),
    )


@pytest.fixture
def frames() -> torch.Tensor:
    return torch.from_numpy(moving_dipeptide(FRAMES).coordinates).float()


@pytest.mark.parametrize("files", SURROUNDINGS, ids=len)
def test_the_operator_moves_as_one_step_at_a_time(files, frames):
    force_field = make_force_field(files)
    at_once, stepped = make_dynamics(force_field), make_dynamics(with_harmonic_torsion(force_field, 0.0))
    assert at_once.at_once and not stepped.at_once
    torch.manual_seed(0)
    normals, first = torch.randn(FRAMES, 10, *frames.shape[1:]), torch.randn_like(frames)
    found, expected = (
        dynamics(frames, dynamics.thermal_velocities(first), normals) for dynamics in (at_once, stepped)
    )
    assert (found[0] - frames).abs().max() > 0.01
    torch.testing.assert_close(found[0], expected[0], atol=2e-5, rtol=0)
    torch.testing.assert_close(found[1], expected[1], atol=2e-2, rtol=0)
    torch.testing.assert_close(at_once.energy(frames), Potential(force_field)(frames), rtol=1e-4, atol=1e-2)


def test_harmonic_torsions_act(frames):
    force_field = make_force_field(SURROUNDINGS[0])
    free, bound = (make_dynamics(with_harmonic_torsion(force_field, k)) for k in (0.0, 500.0))
    normals = torch.zeros(FRAMES, 20, *frames.shape[1:])
    still = torch.zeros_like(frames)
    assert (free(frames, still, normals)[0] - bound(frames, still, normals)[0]).abs().max() > 1e-3
    assert (bound.energy(frames) > free.energy(frames)).all()


def test_a_simulation_in_parts_is_the_same(frames):
    plain = make_force_field(SURROUNDINGS[1])
    for force_field in (plain, with_harmonic_torsion(plain, 1.0)):
        dynamics, normals = make_dynamics(force_field), torch.randn(FRAMES, 7, *frames.shape[1:])
        velocities = dynamics.thermal_velocities(torch.randn_like(frames))
        whole = dynamics(frames, velocities, normals)
        parts = dynamics(*dynamics(frames, velocities, normals[:, :3]), normals[:, 3:])
        for found, expected in zip(parts, whole, strict=True):
            assert torch.equal(found, expected)
