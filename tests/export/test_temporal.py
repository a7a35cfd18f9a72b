"""Exported temporal models, read from their files, against rollouts in Python."""

import json

import mdtraj
import numpy as np
import pytest
import torch

import backmap
from backmap.cli.main import main
from backmap.export.torchscript import save_torchscript
from backmap.inference.temporal import TemporalBuilder
from backmap.models.temporal.config import InternalConfig, TemporalConfig, VoxelConfig
from backmap.models.temporal.model import TemporalModel
from tests.models.temporal.dipeptide import dipeptide, following_frames

pytestmark = pytest.mark.filterwarnings("ignore::backmap.errors.InputWarning")

KINDS = {
    "internal": TemporalConfig(
        "internal-coordinates", internal=InternalConfig(hidden=32, layers=1, latent=8)
    ),
    "regression": TemporalConfig(
        "internal-coordinates",
        internal=InternalConfig(hidden=32, layers=1, latent=8, regression=True),
    ),
    "voxels": TemporalConfig(
        "voxels", voxels=VoxelConfig(grid_points=8, sigma_nm=0.11, channels=2, latent=8)
    ),
    "oriented": TemporalConfig(
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
    ),
}


def make_model(kind: str) -> TemporalModel:
    """An untrained model some of whose draws count as unphysical."""
    torch.manual_seed(1)
    molecule, mapping, _ = dipeptide()
    model = TemporalModel(KINDS[kind], molecule, mapping).eval()
    frame, previous = following_frames(59)
    model.autoencoder.fit(frame, previous)
    if model.config.representation == "internal-coordinates":
        torch.nn.init.normal_(model.autoencoder.decoder.leave.weight, std=0.1)
    model.library = torch.cat([previous, frame.unsqueeze(1)], dim=1)
    drawn = model.step(model.beads_of(frame), previous, torch.rand(59, model.uniforms_per_frame))
    first, second = model.bonds[0]
    length = (drawn[:, first] - drawn[:, second]).norm(dim=-1)
    model.bond_range[0] = length.quantile(torch.tensor([0.25, 0.75]))
    return model


@pytest.fixture(scope="module", params=KINDS)
def both(request, tmp_path_factory):
    """A model, and what was exported of it."""
    model = make_model(request.param)
    path = tmp_path_factory.mktemp("export") / "model.ts"
    save_torchscript(path, model, {}, "")
    return model, torch.jit.load(path)


def drifting_beads(model: TemporalModel, frames: int) -> torch.Tensor:
    """Beads (frames, beads, 3) float64 in nm, far from the origin."""
    frame, _ = following_frames(frames, seed=5)
    drift = torch.linspace(0, 1, frames, dtype=torch.float64)[:, None, None]
    return model.beads_of(frame).double() + 50.0 + drift


def by_python(model: TemporalModel, beads: torch.Tensor, samples: int, seed: int, number: int = 0):
    """Atoms (samples, frames, atoms, 3) of a rollout, and the roller that made it."""
    roller = TemporalBuilder(model, samples=samples, seed=seed, trajectories=(number,))
    (rolled,) = roller.reconstruct([beads.numpy()], [np.arange(len(beads))])
    return torch.from_numpy(rolled.coordinates), roller


@pytest.mark.parametrize(("samples", "number"), [(1, 0), (3, 7)])
def test_rollout_is_that_of_python(both, samples, number):
    model, exported = both
    beads = drifting_beads(model, 12)
    atoms, physical = exported.rollout(beads, samples, 5, number)
    expected, roller = by_python(model, beads, samples, 5, number)
    assert atoms.shape == (samples, 12, 22, 3) and atoms.dtype == torch.float64
    assert (atoms - expected).abs().max() < 1e-5
    assert int((~physical).sum()) == roller.tally.unphysical[0]
    assert roller.tally.redraws[0] > 0


def test_steps_are_those_of_the_rollout(both):
    model, exported = both
    beads = drifting_beads(model, 8)
    expected, _ = by_python(model, beads, 1, 5)
    previous = exported.seed_frames(beads[:1])
    for number, frame in enumerate(beads):
        atoms, previous, physical = exported(frame[None], previous, number, 5)
        assert physical.shape == (1,) and previous.shape == (1, 1, 22, 3)
        assert (atoms[0] - expected[0, number]).abs().max() < 1e-5


def test_rows_are_trajectories(both):
    model, exported = both
    beads = drifting_beads(model, 3)
    previous = exported.seed_frames(beads)
    together, *_ = exported(beads, previous, 4, 9)
    numbers = torch.tensor([2, 0])
    some, *_ = exported(beads[numbers], previous[numbers], 4, 9, numbers)
    assert (together[numbers] - some).abs().max() < 1e-5
    other, *_ = exported(beads, previous, 4, 10)
    assert not torch.equal(other, together)


def test_beads_and_names(both):
    model, exported = both
    frame, _ = following_frames(2)
    assert torch.allclose(exported.beads_of(frame.double()), model.beads_of(frame).double(), atol=1e-6)
    assert (exported.family, exported.length_unit) == ("temporal", "nm")
    assert tuple(exported.atom_names) == model.molecule.atom_names
    assert tuple(exported.residue_numbers) == model.molecule.residue_numbers
    assert (exported.beads, exported.atoms, exported.previous_frames) == (6, 22, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beads": torch.zeros(1, 5, 3)}, "beads has shape [1, 5, 3]; it must be [-1, 6, 3]"),
        ({"beads": torch.zeros(0, 6, 3)}, "beads has shape [0, 6, 3]"),
        ({"beads": torch.tensor(0.0)}, "beads has shape []"),
        ({"beads": torch.full((1, 6, 3), torch.inf)}, "not finite"),
        ({"beads": torch.zeros(1, 6, 3, dtype=torch.int64)}, "beads has dtype"),
        ({"previous": torch.zeros(1, 2, 22, 3)}, "previous has shape [1, 2, 22, 3]"),
        ({"previous": torch.zeros(2, 1, 22, 3)}, "previous has shape [2, 1, 22, 3]"),
        ({"numbers": torch.tensor([0, 1])}, "numbers has shape [2]; it must be [1]"),
        ({"numbers": torch.tensor([0.0])}, "numbers has dtype"),
    ],
)
def test_wrong_arguments_are_explained(both, change, message):
    model, exported = both
    beads = drifting_beads(model, 1)
    arguments = {"beads": beads, "previous": exported.seed_frames(beads), "numbers": torch.tensor([0])}
    exported(**arguments)
    with pytest.raises(Exception) as error:
        exported(**{**arguments, **change})
    assert message in str(error.value)
    with pytest.raises(Exception, match="samples is 0"):
        exported.rollout(beads, 0)


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        ("alanine-dipeptide", "examples/alanine_dipeptide/alanine_dipeptide.pdb"),
        ("alanine-dipeptide-voxels", "examples/alanine_dipeptide/alanine_dipeptide.pdb"),
        ("chignolin", "examples/chignolin/chignolin.pdb.gz"),
    ],
)
def test_shipped_models_from_the_command_line(tmp_path, name, structure):
    path = tmp_path / "model.ts"
    assert main(["export", name, "-o", str(path), "--quiet"]) == 0
    extra = dict.fromkeys(["format", "metadata.json", "card.md"], "")
    exported = torch.jit.load(path, _extra_files=extra)
    metadata = json.loads(extra["metadata.json"])
    assert metadata["family"] == "temporal" and metadata["frame_interval_ps"] == 1.0
    assert extra["card.md"].decode().startswith(f"# {name}\n")
    given = mdtraj.join([mdtraj.load(structure)] * 4)
    beads = exported.beads_of(torch.from_numpy(given.xyz.astype(np.float64)))
    atoms, physical = exported.rollout(beads, 2, 3)
    expected = backmap.reconstruct(given, model=name, samples=2, seed=3, device="cpu")
    assert physical.shape == (2, 4)
    for sample, trajectory in zip(atoms, expected, strict=True):
        assert np.abs(sample.numpy() - trajectory.xyz).max() < 1e-5
