"""Force matching, judged by a force field that is known: what is learned is what made the forces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from backmap.cg.config import CgSchNetConfig, SchNetConfig
from backmap.cg.langevin import LangevinDynamics
from backmap.chemistry.force_mapping import ForceMapping
from backmap.datasets.mapped_forces import ForceData, MappedForces
from backmap.training.cg_noise import ForcesAndNoise
from backmap.training.cg_prior import fit_prior
from backmap.training.cgschnet import CgSchNetTrainingConfig, train_cgschnet
from backmap.training.loop import LoopConfig, TrainingLoop
from tests.cg.force_fields import small_force_field
from tests.models.temporal.dipeptide import dipeptide

N_TRAIN = 1000
CPU = torch.device("cpu")
CONFIG = CgSchNetConfig(network=SchNetConfig(features=16, blocks=1, basis=12, cutoff_nm=0.8))
NOISE = 0.005


@pytest.fixture(scope="module")
def known() -> ForceData:
    """Frames and forces of a known force field: the prior that fits the frames, and a spring."""
    truth = small_force_field(scale=0.0)

    def forces(positions: torch.Tensor) -> torch.Tensor:
        return truth.energy_and_forces(positions)[1] + pull(positions)

    def pull(positions: torch.Tensor) -> torch.Tensor:
        apart = positions[:, 0] - positions[:, 5]
        distance = apart.norm(dim=-1, keepdim=True)
        force = torch.zeros_like(positions)
        force[:, 0] = -3_000.0 * (distance - 0.75) * apart / distance
        force[:, 5] = -force[:, 0]
        return force

    masses = torch.from_numpy(truth.graph.masses)
    dynamics = LangevinDynamics(forces, masses, truth.kt, time_step_ps=0.003, friction_per_ps=10.0, seed=1)
    state = dynamics.begin(truth.start, 60)
    frames = []
    for frame in range(1, 26):
        state = dynamics.advance(state, frame, 8)
        frames.append(state.positions)
    beads = torch.cat(frames[5:])
    fit_prior(truth.prior, beads[:N_TRAIN].numpy(), np.ones(N_TRAIN))
    data = MappedForces(beads.numpy(), forces(beads).numpy(), np.ones(len(beads)))
    train, held_out = (data.part(rows) for rows in np.split(np.arange(len(beads)), [N_TRAIN]))
    molecule, mapping, _ = dipeptide()
    return ForceData(train, held_out, molecule, mapping, ForceMapping.basic(mapping, np.arange(22)))


def train(known, folder, epochs=6, resume=False, noise_nm=0.0):
    folder.mkdir(exist_ok=True)
    loop = LoopConfig(
        epochs, drawn_per_epoch=512, batch=64, learning_rate=5e-3, weight_decay=0.0, gradient_clip=10.0,
        ema_decay=0.9, warm_up_epochs=1, validate_every=1,
    )  # fmt: skip
    settings = CgSchNetTrainingConfig(loop, seed=2, start_frames=20)
    return train_cgschnet(replace(CONFIG, noise_nm=noise_nm), settings, known, folder, CPU, resume)


def test_it_learns_what_the_prior_leaves(known, tmp_path):
    result = train(known, tmp_path / "run", epochs=12)
    target, prior, network = result.errors
    assert target > prior > network
    assert network < 0.3 * prior
    assert result.force_field.start.shape == (20, 6, 3)


def test_with_noise_it_learns_the_force_of_noisy_beads(known, tmp_path):
    """Its forces on noisy beads are closer to the known forces than the prior's."""
    result = train(known, tmp_path / "run", epochs=12, noise_nm=NOISE)
    force_field, frames = result.force_field, known.held_out
    assert force_field.config.noise_nm == NOISE
    target, prior, network = result.errors
    assert target > prior > network
    noisy, forces = ForcesAndNoise(NOISE, force_field.kt, np.eye(6)).draw(
        frames.beads, frames.forces, np.random.default_rng(9)
    )
    found = force_field.energy_and_forces(torch.from_numpy(noisy))[1].numpy()
    before = force_field.prior
    with torch.enable_grad():
        at = torch.from_numpy(noisy).requires_grad_(True)
        (of_prior,) = torch.autograd.grad(before(at).sum(), at)
    assert np.square(found - forces).mean() < np.square(-of_prior.numpy() - forces).mean()


@pytest.mark.parametrize("noise_nm", [0.0, NOISE])
def test_resumed_equals_uninterrupted(known, tmp_path, monkeypatch, noise_nm):
    whole = train(known, tmp_path / "whole", epochs=3, noise_nm=noise_nm)
    train_epoch = TrainingLoop._train_epoch

    def killed(loop, *arguments):
        if loop.epoch == 2:
            raise KeyboardInterrupt
        return train_epoch(loop, *arguments)

    monkeypatch.setattr(TrainingLoop, "_train_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        train(known, tmp_path / "parts", epochs=3, noise_nm=noise_nm)
    monkeypatch.undo()
    resumed = train(known, tmp_path / "parts", epochs=3, resume=True, noise_nm=noise_nm)
    for name, tensor in whole.force_field.state_dict().items():
        assert torch.equal(tensor, resumed.force_field.state_dict()[name]), name


def test_the_prior_has_the_means_and_variances_of_the_frames():
    force_field = small_force_field(frames=400)
    prior, beads = force_field.prior, force_field.start.double()
    length = (beads[:, 0] - beads[:, 1]).norm(dim=-1)
    mean, stiffness = prior.bond_parameters[0].tolist()
    assert mean == pytest.approx(float(length.mean()), rel=1e-4)
    assert stiffness == pytest.approx(force_field.kt / float(length.var(correction=0)), rel=1e-3)
    weights = np.zeros(400)
    weights[:100] = 4.0
    fit_prior(prior, beads.float().numpy(), weights)
    assert prior.bond_parameters[0, 0].item() == pytest.approx(float(length[:100].mean()), rel=1e-4)


def test_a_torsion_gets_its_free_energy():
    """Torsions drawn from a known Boltzmann distribution give its energy back."""
    force_field = small_force_field()
    prior, kt = force_field.prior, force_field.kt
    prior.torsions = prior.torsions[:1]
    prior.torsion_parameters = prior.torsion_parameters[:1]
    generator = np.random.default_rng(1)
    angle = generator.uniform(-np.pi, np.pi, 400_000)
    kept = angle[generator.uniform(size=len(angle)) < np.exp(-3.0 * (1 + np.cos(angle)) / kt)][:60_000]
    beads = np.zeros((len(kept), 6, 3), dtype=np.float32)
    beads[:, 0] = [0.1, 0.1, 0.0]
    beads[:, 2] = [0.15, 0.0, 0.0]
    beads[:, 3] = np.stack([np.full_like(kept, 0.2), 0.1 * np.cos(kept), 0.1 * np.sin(kept)], axis=1)
    beads[:, 4:] = np.random.default_rng(2).normal(size=(len(kept), 2, 3))
    fit_prior(prior, beads, np.ones(len(kept)))
    assert prior.torsion_parameters[0].tolist() == pytest.approx([3.0, 0, 0, 0, 0, 0], abs=0.25)
