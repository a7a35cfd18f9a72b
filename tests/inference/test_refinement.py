"""The short simulation of each frame: what it holds, what it samples, and that nothing depends on batches."""

from __future__ import annotations

import mdtraj
import numpy as np
import pytest
import torch

from backmap.inference.refinement import BOLTZMANN, RefinedSteps, Refinement, RefinementConfig
from backmap.inference.temporal import TemporalBuilder
from backmap.physics import force_field_from_files, potential_from_files
from backmap.physics.force_field import ForceField
from tests.inference.frames import part
from tests.models.temporal.dipeptide import BEAD_ATOMS, STRUCTURE, moving_dipeptide
from tests.toy_temporal import ToyTemporal, beads

openmm = pytest.importorskip("openmm")

CPU = torch.device("cpu")
FILES = ["amber99sbildn.xml", "amber99_obc.xml"]


@pytest.fixture(scope="module")
def force_field() -> ForceField:
    return force_field_from_files(mdtraj.load_topology(str(STRUCTURE)), FILES, constrain_hydrogens=True)


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    return torch.from_numpy(moving_dipeptide(16).coordinates)


def refinement(force_field: ForceField, known: torch.Tensor, **settings) -> Refinement:
    return Refinement(force_field, BEAD_ATOMS, known, RefinementConfig(**settings), CPU)


def test_beads_are_held_and_bonds_to_hydrogen_keep_their_length(force_field, frames):
    refined = refinement(force_field, frames, steps=20)(frames, torch.arange(16), 0)
    assert torch.equal(refined[:, BEAD_ATOMS], frames[:, BEAD_ATOMS])
    first, second = torch.from_numpy(force_field.constraints).T
    length = (refined[:, first] - refined[:, second]).norm(dim=-1)
    expected = torch.from_numpy(force_field.constraint_lengths).float().expand_as(length)
    assert torch.allclose(length, expected, atol=1e-5)
    others = [atom for atom in range(22) if atom not in BEAD_ATOMS]
    assert ((refined - frames)[:, others].norm(dim=-1) > 0).all()


def test_energies_come_down(force_field, frames):
    potential = potential_from_files(mdtraj.load_topology(str(STRUCTURE)), FILES)
    shaken = frames + 0.01 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    shaken[:, BEAD_ATOMS] = frames[:, BEAD_ATOMS]
    refined = refinement(force_field, frames, steps=60)(shaken, torch.arange(16), 0)
    assert potential(refined).median() < potential(shaken).median() - 300


def test_bonds_have_the_temperature():
    """A bond to a held atom varies by kT / k."""
    system, bonds = openmm.System(), openmm.HarmonicBondForce()
    for _ in range(3):
        system.addParticle(12.0)
    stiffness, temperature = 2e5, 400.0
    bonds.addBond(0, 2, 0.15, stiffness)
    system.addForce(bonds)
    start = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [0, 0.15, 0]]).repeat(4000, 1, 1)
    config = RefinementConfig(steps=200, temperature_kelvin=temperature)
    run = Refinement(ForceField.from_openmm(system), [0, 1], start[:4], config, CPU)
    length = run(start, torch.arange(4000), 0)[:, 2].norm(dim=-1)
    assert float(length.var()) == pytest.approx(BOLTZMANN * temperature / stiffness, rel=0.1)
    assert float(length.mean()) == pytest.approx(0.15, abs=5e-4)


def test_atoms_that_overlap_stay_finite(force_field, frames):
    overlapping = frames.clone()
    overlapping[:, 12] = overlapping[:, 0] + 1e-4
    refined = refinement(force_field, frames, steps=10)(overlapping, torch.arange(16), 0)
    assert torch.isfinite(refined).all()
    assert (refined[:, 12] - refined[:, 0]).norm(dim=-1).min() > 0.005


def test_random_numbers_belong_to_the_frame(force_field, frames):
    run = refinement(force_field, frames, steps=5)
    keys = torch.arange(16)
    together = run(frames, keys, 3)
    assert torch.allclose(run(frames[4:6], keys[4:6], 3), together[4:6], atol=1e-6)
    assert torch.equal(run(frames, keys, 3), together)
    for other in (run(frames, keys + 1, 3), run(frames, keys, 4)):
        assert (other - together).abs().max() > 1e-3


def test_energies_that_do_not_occur_are_noticed(force_field, frames):
    run = refinement(force_field, frames, steps=1)
    torn = frames.clone()
    torn[3, 12] = torn[3, 0] + 0.01
    torn[5] = torch.nan
    assert run.is_relaxed(torn).tolist() == [row not in (3, 5) for row in range(16)]


def rolling(force_field: ForceField, frames: torch.Tensor) -> TemporalBuilder:
    shaken = frames + 0.02 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    run = refinement(force_field, shaken, steps=8)
    return TemporalBuilder(ToyTemporal(), samples=2, seed=5, trajectories=(0, 1), refinement=run)


def test_resumed_equals_uninterrupted(force_field, frames):
    given = [beads(12), beads(5, seed=1)]
    whole, first, resumed = (rolling(force_field, frames) for _ in range(3))
    expected = whole.reconstruct(*part(given))
    first.reconstruct(*part(given, 0, 4))
    resumed.restore(first.state)
    built = resumed.reconstruct(*part(given, 4))
    for one, other in zip(built, expected, strict=True):
        np.testing.assert_array_equal(one.atoms, other.atoms[:, 4:])


def test_refined_frames_are_fed_back(force_field, frames):
    """The toy lays the frame before onto the beads: after refinement that is the refined one."""
    given = [beads(3), beads(3, seed=1)]
    refined = rolling(force_field, frames)
    built = refined.reconstruct(*part(given))
    newest = refined.state["previous"][:, :, -1]
    for number in range(2):
        np.testing.assert_array_equal(newest[number], built[number].atoms[:, -1])
    plain = TemporalBuilder(ToyTemporal(), samples=2, seed=5, trajectories=(0, 1)).reconstruct(*part(given))
    assert (np.abs(plain[0].atoms - built[0].atoms).max(axis=(0, 2, 3)) > 1e-3).all()


def test_beads_lie_where_they_are_given_although_they_are_not_drawn_there(force_field, frames):
    given = [beads(3), beads(3, seed=1)]
    plain = TemporalBuilder(ToyTemporal(), samples=2, seed=5, trajectories=(0, 1)).reconstruct(*part(given))
    refined = rolling(force_field, frames).reconstruct(*part(given))
    for wanted, drawn, built in zip(given, plain, refined, strict=True):
        assert np.abs(drawn.coordinates[..., BEAD_ATOMS, :] - wanted).max() > 1e-4
        assert np.abs(built.coordinates[..., BEAD_ATOMS, :] - wanted).max() < 1e-6


def test_the_candidate_of_lowest_energy_is_chosen(force_field, frames):
    run = refinement(force_field, frames, steps=1, draws=3)
    candidates = frames[:, None].repeat(1, 3, 1, 1)
    candidates[:8, 0, 12] = candidates[:8, 0, 0] + 0.01
    candidates[:8, 2] = torch.nan
    candidates[8:, :2] = torch.nan
    chosen = run.choose(candidates)
    assert torch.equal(chosen, frames)


def test_more_draws_begin_with_the_one_that_would_be_drawn_alone(force_field, frames):
    keys = torch.arange(4)
    run = RefinedSteps(ToyTemporal(), 4, refinement(force_field, frames, steps=1))
    first = run.uniforms(keys, 2, 8).view(4, 8, -1)[:, 0]
    assert torch.equal(run.uniforms(keys, 2, 1), first)
    assert torch.equal(
        run.uniforms(keys[2:], 2, 8).view(2, 8, -1), run.uniforms(keys, 2, 8).view(4, 8, -1)[2:]
    )


class Noted(ToyTemporal):
    """Keeps what noise it was asked for."""

    def step(self, c_g, previous, uniform, noise=1.0):
        self.noise = noise
        return super().step(c_g, previous, uniform, noise)


def test_frames_to_refine_are_drawn_as_often_and_with_as_much_noise_as_configured(force_field, frames):
    shaken = frames + 0.02 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    model = Noted()
    run = refinement(force_field, shaken, steps=2, draws=6, noise=0.25)
    TemporalBuilder(model, samples=2, refinement=run).reconstruct(*part([beads(2)]))
    assert model.noise == 0.25
    assert model.batches[0] == 12
    TemporalBuilder(model, samples=2).reconstruct(*part([beads(2)]))
    assert model.noise == 1.0
    assert model.batches[-1] == 2
