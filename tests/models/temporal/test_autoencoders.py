"""Both autoencoders: sizes, invariances, and what the decoder gives."""

import pytest
import torch

from backmap.models.temporal.config import InternalConfig, VoxelConfig
from backmap.models.temporal.internal_autoencoder import InternalAutoencoder, ScaledCoordinates
from backmap.models.temporal.internal_coordinates import InternalCoordinates
from backmap.models.temporal.voxel_autoencoder import VoxelAutoencoder
from backmap.ops import voxelize

from .dipeptide import dipeptide, following_frames, moving_dipeptide


def batch(count: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Frames, beads and previous frames."""
    _, mapping, _ = dipeptide()
    frame, previous = following_frames(count)
    return frame, frame[:, list(mapping.bead_atoms)], previous


@pytest.fixture
def internal() -> InternalAutoencoder:
    torch.manual_seed(0)
    molecule, mapping, _ = dipeptide()
    network = InternalAutoencoder(InternalConfig(hidden=32, layers=1, latent=8), molecule, mapping, 1)
    network.fit(*following_frames(199))
    return network


def test_the_published_networks_have_the_published_sizes():
    network = VoxelAutoencoder(VoxelConfig(), atoms=22, beads=6, previous_frames=1)
    assert sum(p.numel() for p in network.encoder.parameters()) == 535_008
    assert sum(p.numel() for p in network.decoder.parameters()) == 706_646


def test_densities_are_those_of_centred_particles_by_channel():
    network = VoxelAutoencoder(VoxelConfig(channels=2, latent=8), atoms=22, beads=6, previous_frames=1)
    frame, beads, previous = batch()
    observation = network.observe(frame, beads, previous)
    assert observation.everything.shape == (4, 22 + 6 + 22, 12, 12, 12)
    assert observation.condition.data_ptr() == observation.everything[:, 22:].data_ptr()
    for channels, particles in (
        (slice(0, 22), frame),
        (slice(22, 28), beads),
        (slice(28, 50), previous[:, 0]),
    ):
        centred = particles - particles.mean(dim=1, keepdim=True)
        expected = voxelize(centred, grid_points=12, width=1.8, sigma=0.0707)
        assert torch.equal(observation.everything[:, channels], expected)
    assert torch.equal(network.condition(beads, previous), observation.condition)


def test_voxels_do_not_see_where_frames_lie():
    torch.manual_seed(0)
    network = VoxelAutoencoder(VoxelConfig(channels=2, latent=8), atoms=22, beads=6, previous_frames=1)
    frame, beads, previous = batch()
    here = network.encode(network.observe(frame, beads, previous)).mean
    there = network.encode(network.observe(frame + 5, beads - 3, previous + 1)).mean
    assert torch.allclose(here, there, atol=1e-4)


@pytest.mark.parametrize("grid_points", [8, 11, 12])
def test_voxel_decoder_gives_coordinates_on_the_grid(grid_points):
    config = VoxelConfig(grid_points=grid_points, channels=2, latent=16)
    network = VoxelAutoencoder(config, atoms=22, beads=6, previous_frames=2)
    frame, beads, previous = batch()
    condition = network.condition(beads, previous.repeat(1, 2, 1, 1))
    decoded = network.decode(torch.randn(4, 16), condition, beads)
    assert decoded.coordinates.shape == frame.shape
    assert decoded.coordinates.abs().max() < config.width_nm / 2
    decoded.coordinates.sum().backward()
    assert all(p.grad is not None for p in network.decoder.parameters())


def test_scaled_coordinates_have_unit_variance_and_give_the_values_back():
    molecule, mapping, _ = dipeptide()
    coordinates = InternalCoordinates(molecule, mapping)
    frames = torch.from_numpy(moving_dipeptide(400).coordinates)
    values = coordinates.measure(frames)
    values.length[:, 0] = values.length[0, 0]  # a constrained bond
    values.torsion[:, 1] = torch.linspace(-9, 9, 400).sin() * 3  # a free torsion
    scale = ScaledCoordinates(coordinates.placed)
    scale.fit(values)
    assert scale.rigid.tolist() == [True] + [False] * (coordinates.placed - 1)
    assert scale.free.nonzero().flatten().tolist() == [1]
    scaled = scale.encode(values)
    narrow = scale.varies.clone()
    narrow[2 * coordinates.placed + 1] = narrow[3 * coordinates.placed + 1] = False
    assert torch.allclose(scaled.std(0)[narrow], torch.ones(int(narrow.sum())), atol=1e-3)
    assert (scaled[:, ~scale.varies] == 0).all()
    for before, after in zip(values, scale.decode(scaled), strict=True):
        apart = before - after
        assert torch.atan2(apart.sin(), apart.cos()).abs().max() < 1e-5


def test_internal_networks_do_not_see_place_and_orientation(internal):
    frame, beads, previous = batch()
    q, r = torch.linalg.qr(torch.randn(3, 3))
    turn = q * r.diagonal().sign()
    turn = turn * torch.linalg.det(turn)
    here = internal.observe(frame, beads, previous)
    there = internal.observe(frame @ turn + 1, beads @ turn + 1, previous @ turn - 2)
    assert torch.allclose(here.everything, there.everything, atol=2e-2)
    code = torch.randn(4, 8)
    decoded = internal.decode(code, here.condition, beads).coordinates
    turned = internal.decode(code, here.condition, beads @ turn + 1).coordinates
    assert torch.allclose(turned, decoded @ turn + 1, atol=1e-5)


def test_a_mirror_image_looks_different(internal):
    frame, beads, previous = batch()
    mirrored = internal.observe(-frame, -beads, -previous)
    assert (mirrored.everything - internal.observe(frame, beads, previous).everything).abs().max() > 1


def test_decoded_frames_lie_on_their_beads(internal):
    _, mapping, _ = dipeptide()
    frame, beads, previous = batch()
    normals = torch.randn(4, internal.normals_per_frame)
    drawn = internal.decode(torch.randn(4, 8), internal.condition(beads, previous), beads, normals)
    assert torch.equal(drawn.coordinates[:, list(mapping.bead_atoms)], beads)


def test_reconstruction_loss_is_a_likelihood(internal):
    frame, beads, previous = batch()
    observation = internal.observe(frame, beads, previous)
    decoded = internal.decode(torch.randn(4, 8), observation.condition, beads)
    loss = internal.reconstruction_loss(decoded, frame, observation)
    target = observation.everything[:, : decoded.output.shape[1]]
    normal = torch.distributions.Normal(decoded.output, internal.log_sigma.exp())
    expected = -(normal.log_prob(target) * internal.scale.varies).sum(-1).mean()
    assert torch.allclose(loss, expected)
