"""Both autoencoders: sizes, invariances, and what the decoder gives."""

import pytest
import torch

from backmap.models.temporal.bead_frame import BeadFrame
from backmap.models.temporal.config import InternalConfig, VoxelConfig
from backmap.models.temporal.internal_autoencoder import InternalAutoencoder, ScaledCoordinates
from backmap.models.temporal.internal_coordinates import InternalCoordinates
from backmap.models.temporal.separable_networks import smooth_functions
from backmap.models.temporal.superposition import move
from backmap.models.temporal.voxel_autoencoder import VoxelAutoencoder
from backmap.ops import voxelize
from backmap.training.temporal import random_rotations

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


def voxel_networks(config: VoxelConfig, previous_frames: int = 1) -> VoxelAutoencoder:
    _, mapping, _ = dipeptide()
    return VoxelAutoencoder(config, mapping, previous_frames)


def random_turn() -> torch.Tensor:
    """A proper rotation (3, 3)."""
    q, r = torch.linalg.qr(torch.randn(3, 3))
    turn = q * r.diagonal().sign()
    return turn * torch.linalg.det(turn)


def test_the_published_networks_have_the_published_sizes():
    network = voxel_networks(VoxelConfig())
    assert sum(p.numel() for p in network.encoder.parameters()) == 535_008
    assert sum(p.numel() for p in network.decoder.parameters()) == 706_646


def test_densities_are_those_of_centred_particles_by_channel():
    network = voxel_networks(VoxelConfig(channels=2, latent=8))
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
    network = voxel_networks(VoxelConfig(channels=2, latent=8))
    frame, beads, previous = batch()
    here = network.encode(network.observe(frame, beads, previous)).mean
    there = network.encode(network.observe(frame + 5, beads - 3, previous + 1)).mean
    assert torch.allclose(here, there, atol=1e-4)


@pytest.mark.parametrize("kind", ["residual", "separable"])
@pytest.mark.parametrize("grid_points", [8, 11, 12])
def test_voxel_decoder_gives_coordinates_on_the_grid(grid_points, kind):
    config = VoxelConfig(grid_points=grid_points, channels=2, latent=16, network=kind, hidden=8)
    network = voxel_networks(config, previous_frames=2)
    frame, beads, previous = batch()
    condition = network.condition(beads, previous.repeat(1, 2, 1, 1))
    decoded = network.decode(torch.randn(4, 16), condition, beads)
    assert decoded.coordinates.shape == frame.shape
    assert decoded.coordinates.abs().max() < config.width_nm / 2
    decoded.coordinates.sum().backward()
    assert all(p.grad is not None for p in network.decoder.parameters())


ORIENTED = VoxelConfig(
    grid_points=8, sigma_nm=0.135, channels=10, latent=6, network="separable", orientation="beads", hidden=16
)


@pytest.fixture
def oriented() -> VoxelAutoencoder:
    torch.manual_seed(0)
    network = voxel_networks(ORIENTED)
    network.fit(*following_frames(199))
    return network


def test_oriented_networks_do_not_see_place_and_orientation(oriented):
    frame, beads, previous = batch()
    turn, other_turn = random_turn(), random_turn()
    here = oriented.observe(frame, beads, previous)
    there = oriented.observe(frame @ turn + 1, beads @ turn + 1, previous @ other_turn - 2)
    assert torch.allclose(here.everything, there.everything, atol=1e-4)
    assert torch.equal(oriented.condition(beads, previous), here.condition)
    code = torch.randn(4, 6)
    decoded = oriented.decode(code, here.condition, beads).coordinates
    turned = oriented.decode(code, here.condition, beads @ turn + 1).coordinates
    assert torch.allclose(turned, decoded @ turn + 1, atol=1e-5)


def test_oriented_networks_see_a_mirror_image(oriented):
    frame, beads, previous = batch()
    here = oriented.observe(frame, beads, previous).everything
    assert (oriented.observe(-frame, -beads, -previous).everything - here).abs().max() > 0.5


def test_frame_of_reference_follows_the_rigid_beads():
    generator = torch.Generator().manual_seed(0)
    rigid = torch.tensor([[0.0, 0, 0], [0.15, 0, 0], [0, 0.15, 0], [0, 0, 0.15]])
    loose = torch.tensor([0.5, 0.1, 0]) + 0.1 * torch.randn(300, 1, 3, generator=generator)
    beads = torch.cat([rigid.expand(300, 4, 3), loose], dim=1)
    beads = beads + 1e-4 * torch.randn(beads.shape, generator=generator)
    turns = random_rotations(300, torch.device("cpu"))
    frame = BeadFrame(5)
    frame.fit(beads @ turns, beads @ turns)
    placed = move(frame(beads @ turns + 3), beads @ turns + 3)
    assert placed[:, :4].std(dim=0).max() < 1e-3
    assert placed[:, 4].std(dim=0).max() > 0.05
    assert placed.mean(dim=(0, 1)).abs().max() < 1e-3


@pytest.mark.parametrize("beads", [2, 3], ids=["two", "on a line"])
def test_beads_without_an_orientation_are_refused(beads):
    line = torch.linspace(0, 1, beads).view(1, -1, 1) * torch.randn(50, 1, 3)
    with pytest.raises(ValueError, match="lie on a line"):
        BeadFrame(beads).fit(line, line)


def test_smooth_functions_are_orthonormal_polynomials():
    functions = smooth_functions(20, 6)
    assert torch.allclose(functions @ functions.T / 6**3, torch.eye(20), atol=1e-5)
    x, y, z = torch.cartesian_prod(*[torch.linspace(-1, 1, 6)] * 3).T
    wanted = x**2 * y - 2 * z + 1
    coefficients = functions @ wanted / 6**3
    assert torch.allclose(coefficients @ functions, wanted, atol=1e-4)
    assert len(smooth_functions(64, 4)) == 64


def test_untrained_separable_decoders_put_a_gaussian_at_the_centre(oriented):
    torch.nn.init.zeros_(oriented.decoder.network.leave.weight)
    _, beads, previous = batch()
    logits = oriented.decoder(torch.zeros(4, 6), oriented.condition(beads, previous))
    at_centre = voxelize(torch.zeros(1, 1, 3), grid_points=8, width=1.8, sigma=0.135)
    assert torch.allclose(logits.double().exp(), at_centre.double(), atol=1e-3)


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
    turn = random_turn()
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
