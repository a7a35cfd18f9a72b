"""Energies with a cutoff beside those of all pairs, and minimisations of batches of frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from backmap.ops import molecular_mechanics
from backmap.physics import Potential
from backmap.physics.force_field import ForceField
from backmap.physics.minimisation import Springs, minimise
from backmap.physics.short_range import ShortRangePotential

openmm = pytest.importorskip("openmm")
FRAMES = 5


@pytest.fixture(scope="module")
def dipeptide(build) -> tuple[ForceField, torch.Tensor]:
    """Alanine dipeptide in AMBER ff99SB-ILDN, and distorted frames (frames, atoms, 3) in nm."""
    system, positions = build("alanine_dipeptide.pdb", "amber99sbildn.xml")
    start = torch.tensor(positions)
    noise = torch.randn(FRAMES, *start.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return ForceField.from_openmm(system), start + 0.01 * noise


def test_terms_are_those_of_all_pairs(dipeptide):
    """Without a cutoff and without charges."""
    force_field, frames = dipeptide
    short = ShortRangePotential(force_field, torch.float64)
    energy, gradient = molecular_mechanics(
        frames, **dict(short.named_buffers()), cutoff_nm=1e3, dielectric=1e12
    )
    charges = np.zeros_like(force_field.charges)
    parameters = force_field.exception_parameters * [0.0, 1.0, 1.0]
    uncharged = replace(force_field, charges=charges, exception_parameters=parameters)
    expected = Potential(uncharged, torch.float64).energy_and_gradient(frames)
    torch.testing.assert_close((energy, gradient), expected, rtol=1e-6, atol=1e-5)


def test_gradient(dipeptide):
    force_field, frames = dipeptide
    short = ShortRangePotential(force_field, torch.float64)
    frame = frames[0].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: short(x)[0], (frame,), eps=1e-7, atol=1e-3, rtol=1e-4)


def test_other_force_fields_are_refused(dipeptide):
    force_field, _ = dipeptide
    impropers = replace(
        force_field,
        harmonic_torsions=np.zeros((1, 4), dtype=np.int64),
        harmonic_torsion_parameters=np.zeros((1, 2)),
    )
    with pytest.raises(ValueError, match="harmonic torsions and CMAP terms are not supported"):
        ShortRangePotential(impropers)
    table = 2 * force_field.attraction - np.diag(np.diagonal(force_field.attraction))
    with pytest.raises(ValueError, match="do not follow combination rules"):
        ShortRangePotential(replace(force_field, attraction=table))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_minima_have_no_forces_and_held_atoms_stay(dipeptide, dtype):
    force_field, frames = dipeptide
    potential = ShortRangePotential(force_field, dtype)
    stiffness = torch.zeros(force_field.n_atoms, dtype=dtype)
    stiffness[4] = torch.inf
    found, energy = minimise(potential, Springs(frames.to(dtype), stiffness), 400)
    _, gradient = potential(found)
    assert torch.equal(found[:, 4], frames[:, 4].to(dtype))
    gradient[:, 4] = 0
    assert (gradient.square().mean((1, 2)).sqrt() < 2).all()
    assert (energy < potential(frames.to(dtype))[0] - 10).all()


def test_frames_do_not_depend_on_the_batch(dipeptide):
    """One is so distorted that its steps are shortened, and one is not finite."""
    force_field, frames = dipeptide
    frames = frames.float()
    frames[1] *= 0.2
    frames[2, 3] = torch.nan
    potential, stiffness = ShortRangePotential(force_field), torch.full((force_field.n_atoms,), 1000.0)
    together = minimise(potential, Springs(frames, stiffness), 40)
    assert together[1][[0, 1, 3, 4]].isfinite().all() and together[1][2].isnan()
    for number in range(FRAMES):
        alone = minimise(potential, Springs(frames[number, None], stiffness), 40)
        for one, many in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], many[number], rtol=0, atol=0, equal_nan=True)
