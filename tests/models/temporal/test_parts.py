"""Superposition, mixture of codes, losses and the check of the grid."""

import math

import pytest
import torch

from backmap.errors import InputError
from backmap.models.configuration import config_from_dict
from backmap.models.normals import normals_from_uniforms
from backmap.models.temporal.autoencoder import Posterior
from backmap.models.temporal.config import TemporalConfig, VoxelConfig
from backmap.models.temporal.grid import check_grid, suggest_grid
from backmap.models.temporal.latent_mixture import LatentMixture
from backmap.models.temporal.losses import (
    bead_loss,
    coordinate_loss,
    distance_loss,
    divergence,
    energy_loss,
)
from backmap.models.temporal.superposition import move, root_mean_square_distance, superpose


def test_superposition_undoes_a_motion():
    points = torch.randn(5, 7, 3, dtype=torch.float64)
    q, r = torch.linalg.qr(torch.randn(5, 3, 3, dtype=torch.float64))
    turn = q * torch.linalg.det(q).view(5, 1, 1)
    moved = points @ turn.transpose(1, 2) + torch.randn(5, 1, 3, dtype=torch.float64)
    motion = superpose(moved, points)
    assert torch.allclose(move(motion, moved), points, atol=1e-10)
    assert torch.allclose(torch.linalg.det(motion.rotation), torch.ones(5, dtype=torch.float64))


def test_superposition_never_mirrors_and_finds_the_minimum():
    points, target = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    motion = superpose(points, target)
    best = root_mean_square_distance(move(motion, points), target)
    assert torch.linalg.det(motion.rotation) > 0
    for _ in range(20):
        small = torch.linalg.matrix_exp(
            torch.cross(torch.eye(3), 0.1 * torch.randn(3, 1).expand(3, 3), dim=0).double()
        )
        assert root_mean_square_distance(move(motion, points) @ small.T, target) >= best - 1e-12


def test_superposition_heeds_weights():
    points = torch.randn(5, 3, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    target = points @ (turn * torch.linalg.det(turn)).T + 2
    target[4] += 10  # does not count
    motion = superpose(points, target, torch.tensor([0.25, 0.25, 0.25, 0.25, 0.0], dtype=torch.float64))
    assert torch.allclose(move(motion, points)[:4], target[:4], atol=1e-10)
    weights = torch.full((5,), 0.2, dtype=torch.float64)
    for one, other in zip(superpose(points, target, weights), superpose(points, target), strict=True):
        assert torch.allclose(one, other, atol=1e-10)


def test_normals_are_normal():
    torch.manual_seed(0)
    normals = normals_from_uniforms(torch.rand(200_000, 4))
    assert normals.shape == (200_000, 4)
    assert normals.mean(0).abs().max() < 0.01
    assert torch.allclose(torch.cov(normals.T), torch.eye(4), atol=0.02)
    assert abs(float((normals**4).mean()) - 3) < 0.05
    assert torch.isfinite(normals_from_uniforms(torch.tensor([0.0, 0.0]))).all()
    assert torch.isfinite(normals_from_uniforms(torch.tensor([1 - 2**-24, 0.5]))).all()


def test_mixture_draws_its_components():
    torch.manual_seed(0)
    weights = torch.tensor([0.2, 0.0, 0.8])
    means = torch.tensor([[-10.0, 0, 0], [50.0, 50, 50], [10.0, 1, 2]])
    factor = torch.tensor([[1.0, 0, 0], [0.5, 2, 0], [0, 0, 0.1]])
    mixture = LatentMixture(weights, means, factor.repeat(3, 1, 1))
    codes = mixture.draw(torch.rand(100_000, mixture.uniforms_per_code))
    left = codes[:, 0] < 0
    assert abs(float(left.float().mean()) - 0.2) < 0.01
    assert codes.max() < 30
    assert torch.allclose(codes[~left].mean(0), means[2], atol=0.03)
    assert torch.allclose(torch.cov(codes[~left].T), factor @ factor.T, atol=0.06)


def test_standard_normal_is_a_mixture_of_one():
    mixture = LatentMixture.standard_normal(5)
    codes = mixture.draw(torch.rand(50_000, mixture.uniforms_per_code))
    assert codes.shape == (50_000, 5)
    assert torch.allclose(torch.cov(codes.T), torch.eye(5), atol=0.05)


def test_losses_against_their_definitions():
    one, other = torch.randn(3, 5, 3), torch.randn(3, 5, 3)
    shift = torch.randn(3, 1, 3)
    assert coordinate_loss(one + shift, one) < 1e-10
    centred = [x - x.mean(1, keepdim=True) for x in (one, other)]
    assert torch.allclose(coordinate_loss(one, other), (centred[0] - centred[1]).square().mean())
    assert torch.allclose(bead_loss(one, other), coordinate_loss(one, other))
    matrices = [torch.cdist(x, x) for x in (one, other)]
    # the matrix holds each pair twice and zeros on its diagonal
    full = 0.5 * (matrices[0] - matrices[1]).square().mean()
    assert torch.allclose(distance_loss(one, other), full, atol=1e-4)
    mean, log_variance = torch.randn(4, 6), torch.randn(4, 6)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    assert torch.allclose(divergence(Posterior(mean, log_variance)), expected.sum(-1).mean(), atol=1e-5)


def test_dimensions_with_little_divergence_cost_the_same_and_have_no_gradient():
    mean, log_variance = torch.randn(500, 6), torch.zeros(500, 6)
    mean[:, :3] *= 0.01
    mean.requires_grad_()
    cost = divergence(Posterior(mean, log_variance), free_nats=0.1)
    used = 0.5 * mean[:, 3:].square().mean(0).sum()
    assert torch.allclose(cost, 0.3 + used)
    cost.backward()
    assert (mean.grad[:, :3] == 0).all() and (mean.grad[:, 3:] != 0).any()


def test_energies_are_standardised_and_limited():
    mean, spread = torch.tensor(10.0), torch.tensor(2.0)
    loss = energy_loss(torch.tensor([12.0, 1e9]), torch.tensor([10.0, 14.0]), mean, spread, limit=5.0)
    assert math.isclose(float(loss), (1**2 + 3**2) / 2, rel_tol=1e-6)


def test_published_grids_suit_their_molecules():
    check_grid(VoxelConfig(), radius_nm=0.5)
    check_grid(VoxelConfig(width_nm=5.5, sigma_nm=0.2236, latent=64), radius_nm=1.5)


def test_a_grid_too_small_is_refused_with_one_that_suits():
    with pytest.raises(ValueError, match="does not enclose the molecule") as error:
        check_grid(VoxelConfig(), radius_nm=1.2)
    width, sigma = suggest_grid(1.2)
    assert f"use width_nm = {width:g} and sigma_nm = {sigma:g}" in str(error.value)
    check_grid(VoxelConfig(width_nm=width, sigma_nm=sigma), radius_nm=1.2)


def test_a_gaussian_between_the_voxels_is_refused_with_one_that_suits():
    with pytest.raises(
        ValueError, match="is not resolved by voxels of 0.15 nm; use sigma_nm = 0.0675 or more"
    ):
        check_grid(VoxelConfig(sigma_nm=0.03), radius_nm=0.5)
    check_grid(VoxelConfig(sigma_nm=0.0675), radius_nm=0.5)


@pytest.mark.parametrize(
    "values, message",
    [
        (
            {"representation": "points"},
            "representation is 'points'; use voxels or internal-coordinates",
        ),
        ({"previous_frames": 0}, "previous_frames is 0; give a whole number from 1 to"),
        ({"refined_noise": 1.5}, "refined_noise is 1.5; give a number from 0 to 1"),
        ({"refined_draws": 0}, "refined_draws is 0; give a whole number from 1"),
    ],
)
def test_configurations_that_make_no_sense(values, message):
    with pytest.raises(InputError, match=message):
        config_from_dict(TemporalConfig, values)


def test_latent_codes_need_a_multiple_of_eight():
    with pytest.raises(ValueError, match="latent is 20; the decoder needs a multiple of 8"):
        VoxelConfig(latent=20)
