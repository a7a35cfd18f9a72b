import numpy as np
import pytest
import torch

from backmap.errors import InputError
from backmap.models.checkpoint import load_checkpoint, load_model, save_checkpoint
from backmap.models.temporal.config import InternalConfig, TemporalConfig, VoxelConfig
from backmap.models.temporal.model import TemporalModel
from backmap.models.temporal.superposition import root_mean_square_distance
from backmap.physics.force_field import ForceField

from .dipeptide import dipeptide, following_frames, moving_dipeptide

INTERNAL = TemporalConfig("internal-coordinates", internal=InternalConfig(hidden=32, layers=1, latent=8))
REGRESSION = TemporalConfig(
    "internal-coordinates", internal=InternalConfig(hidden=32, layers=1, latent=8, regression=True)
)
VOXELS = TemporalConfig("voxels", voxels=VoxelConfig(grid_points=8, sigma_nm=0.11, channels=2, latent=8))

ORIENTED = TemporalConfig(
    "voxels",
    voxels=VoxelConfig(
        grid_points=8,
        sigma_nm=0.135,
        channels=10,
        latent=8,
        network="separable",
        orientation="beads",
        hidden=16,
    ),
)


@pytest.fixture(
    params=[INTERNAL, REGRESSION, VOXELS, ORIENTED], ids=["internal", "regression", "voxels", "oriented"]
)
def model(request) -> TemporalModel:
    torch.manual_seed(1)
    molecule, mapping, _ = dipeptide()
    model = TemporalModel(request.param, molecule, mapping).eval()
    frame, previous = following_frames(59)
    model.autoencoder.fit(frame, previous)
    if request.param.representation == "internal-coordinates":
        torch.nn.init.normal_(model.autoencoder.decoder.leave.weight, std=0.1)
    model.library = torch.cat([previous, frame.unsqueeze(1)], dim=1)
    return model


def turned(points: torch.Tensor) -> torch.Tensor:
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    return points @ turn.T + torch.tensor([3.0, -2.0, 1.0])


def test_output_lies_where_the_beads_are(model):
    frame, previous = following_frames(4, seed=3)
    beads, uniforms = model.beads_of(frame), torch.rand(4, model.uniforms_per_frame)
    here = model.step(beads, previous, uniforms)
    assert torch.allclose(model.beads_of(here).mean(1), beads.mean(1), atol=1e-5)
    moved = model.step(beads + 7, previous + 7, uniforms)
    assert torch.allclose(moved, here + 7, atol=1e-4)
    if model.config.representation == "internal-coordinates":
        assert model.residual(here, beads).max() < 1e-6
    if model.config is not VOXELS:
        there = model.step(turned(beads), turned(previous), uniforms)
        assert torch.allclose(there, turned(here), atol=1e-4)


def test_rows_of_a_batch_do_not_touch(model):
    frame, previous = following_frames(4, seed=3)
    beads, uniforms = model.beads_of(frame), torch.rand(4, model.uniforms_per_frame)
    together = model.step(beads, previous, uniforms)
    for row in range(4):
        alone = model.step(beads[row : row + 1], previous[row : row + 1], uniforms[row : row + 1])
        assert torch.allclose(alone[0], together[row], atol=1e-5)


def test_frames_without_noise_differ_by_their_code_alone(model):
    frame, previous = following_frames(1)
    beads, previous = model.beads_of(frame).expand(2, -1, -1), previous.expand(2, -1, -1, -1)
    uniforms = torch.rand(2, model.uniforms_per_frame)
    codes = model.mixture.uniforms_per_code
    uniforms[1, :codes] = uniforms[0, :codes]
    still = model.step(beads, previous, uniforms, noise=0.0)
    assert torch.allclose(still[0], still[1], atol=1e-6)
    if model.autoencoder.normals_per_frame:
        drawn = model.step(beads, previous, uniforms)
        assert (drawn[0] - drawn[1]).abs().max() > 1e-3


def test_the_seed_is_the_frame_of_the_library_with_such_beads(model):
    beads = turned(model.beads_of(model.library[[17, 4], -1]))
    seeds = model.seed_frames(beads)
    assert seeds.shape == (2, 1, 22, 3)
    assert torch.allclose(seeds, turned(model.library[[17, 4], :-1]), atol=1e-4)


def test_a_model_without_a_library_says_so(model):
    model.library = model.library[:0]
    with pytest.raises(InputError, match="contains no frames to start from"):
        model.seed_frames(torch.zeros(1, 6, 3))


def test_checkpoint_gives_the_same_model_back(model, tmp_path):
    model.bond_range = torch.rand_like(model.bond_range)
    model.residual_limit = torch.tensor(0.01)
    save_checkpoint(tmp_path / "m.safetensors", model.to_checkpoint({"seed": 1}))
    again = load_model(tmp_path / "m.safetensors")
    assert load_checkpoint(tmp_path / "m.safetensors").provenance == {"seed": 1}
    assert again.config == model.config
    assert again.molecule == model.molecule
    frame, previous = following_frames(2)
    uniforms = torch.rand(2, model.uniforms_per_frame)
    beads = model.beads_of(frame)
    assert torch.equal(again.step(beads, previous, uniforms), model.step(beads, previous, uniforms))
    assert torch.equal(again.bond_range, model.bond_range)


def test_checkpoint_keeps_the_force_field(model, tmp_path):
    openmm = pytest.importorskip("openmm")
    system = openmm.System()
    bonds = openmm.HarmonicBondForce()
    for _ in range(22):
        system.addParticle(12.0)
    bonds.addBond(0, 1, 0.1, 2e5)
    system.addForce(bonds)
    system.addConstraint(2, 3, 0.11)
    model.force_field = ForceField.from_openmm(system)
    save_checkpoint(tmp_path / "m.safetensors", model.to_checkpoint({}))
    again = load_model(tmp_path / "m.safetensors").force_field
    arrays = model.force_field.to_arrays()
    assert arrays.keys() == again.to_arrays().keys()
    assert all(np.array_equal(arrays[name], array) for name, array in again.to_arrays().items())
    model.force_field = None
    save_checkpoint(tmp_path / "m.safetensors", model.to_checkpoint({}))
    assert load_model(tmp_path / "m.safetensors").force_field is None


def test_weights_of_another_molecule_are_refused(model):
    checkpoint = model.to_checkpoint({})
    checkpoint.config["mapping"]["bead_names"].append("X")
    checkpoint.config["mapping"]["bead_atoms"].append([3])
    checkpoint.config["mapping"]["bead_weights"].append([1.0])
    with pytest.raises(InputError, match="weights do not match the configuration"):
        TemporalModel.from_checkpoint(checkpoint)


def test_what_is_physical(model):
    frames = torch.from_numpy(moving_dipeptide(4).coordinates)
    first, second = model.bonds.unbind(1)
    length = (frames[:, first] - frames[:, second]).norm(dim=-1)
    model.bond_range = torch.stack([length.amin(0) - 0.001, length.amax(0) + 0.001], dim=-1)
    model.residual_limit = torch.tensor(0.01)
    beads = model.beads_of(frames)
    frames[1, 0] += 0.05  # a long bond
    frames[2, 0] = torch.nan
    beads[3] += 0.02  # elsewhere
    assert model.is_physical(frames, beads).tolist() == [True, False, False, False]


def test_encoding_and_decoding_have_a_gradient_for_guidance(model):
    frame, previous = following_frames(2)
    code = torch.zeros(2, 8, requires_grad=True)
    decoded = model.decode(code, model.beads_of(frame), previous)
    root_mean_square_distance(decoded, frame).sum().backward()
    assert torch.isfinite(code.grad).all() and code.grad.abs().max() > 0
    assert model.encode(frame, previous).shape == (2, 8)
