"""Exported DiAMoNDBack models, read from their files, against the models in Python."""

import numpy as np
import pytest
import torch

import backmap
from backmap.chemistry import SLOT_CA, Topology
from backmap.cli.main import main
from backmap.export.torchscript import save_torchscript
from backmap.inference.diamondback import DiamondbackBuilder
from backmap.io import open_source
from tests.export.small import chains_of, random_walk
from tests.models.diamondback.small import make_model


@pytest.fixture(scope="module", params=[("compact", 0), ("compact", 3), ("unet", 0)], ids=str)
def both(request, tmp_path_factory):
    """A model, what was exported of it, and the steps of its sampler."""
    network, ddim_steps = request.param
    model, path = make_model(network), tmp_path_factory.mktemp("export") / "model.ts"
    save_torchscript(path, model, {}, "", ddim_steps)
    return model, torch.jit.load(path), ddim_steps


@pytest.mark.parametrize("sequences", [("ACDEFGHIKLMNPQRSTVWY",), ("GAWPL", "MKVP")], ids="/".join)
@pytest.mark.parametrize(("frames", "samples"), [(1, 1), (3, 2)])
def test_result_is_that_of_python(both, sequences, frames, samples):
    model, exported, ddim_steps = both
    topology = Topology.from_sequences(*sequences)
    c_alpha, (types, offsets) = random_walk(topology, frames), chains_of(topology)
    atoms, mask = exported(c_alpha, types, offsets, samples, 7, bead_noise=-1.0)
    origin = c_alpha[:, :1]
    engine = DiamondbackBuilder(model, topology, topology.linked(c_alpha.numpy()), ddim_steps=ddim_steps)
    near, numbers = (c_alpha - origin).float(), torch.arange(frames)
    built = engine.reconstruct(near, numbers=numbers, samples=samples, seed=7).double() + origin[:, None]
    assert np.array_equal(mask.numpy(), topology.atom_mask)
    assert (atoms - built)[:, :, mask].abs().max() < 1e-5
    assert torch.equal(atoms[:, :, :, SLOT_CA], c_alpha.expand(samples, -1, -1, -1))


def test_frames_in_pieces_are_those_of_the_whole(both):
    _, exported, _ = both
    topology = Topology.from_sequences("ACDEFGHIKL", "MNPQR")
    c_alpha, (types, offsets) = random_walk(topology, 3), chains_of(topology)
    whole, _ = exported(c_alpha, types, offsets, 2, 9, bead_noise=-1.0)
    linked = exported.find_links(c_alpha, offsets)
    piece, _ = exported(c_alpha[2:], types, offsets, 2, 9, torch.tensor([2]), linked, None, -1.0)
    with pytest.raises(Exception, match="this model builds open chains only"):
        exported(c_alpha, types, offsets, linked=torch.ones_like(linked))
    assert (piece - whole[:, 2:]).abs().max() < 1e-3  # untrained networks amplify rounding


def test_short_segments_are_refused(both):
    _, exported, _ = both
    topology = Topology.from_sequences("ACDE", "AC")
    with pytest.raises(Exception) as error:
        exported(random_walk(topology, 1), *chains_of(topology))
    assert "residue 4, counted from 0, is in a segment of fewer than three" in str(error.value)


def test_shipped_model_from_the_command_line(tmp_path):
    path = tmp_path / "model.ts"
    arguments = ["export", "diamondback", "--ddim-steps", "4", "-o", str(path), "--quiet"]
    assert main(arguments) == 0
    exported = torch.jit.load(path)
    assert exported.family == "diamondback"
    trajectory, top = "examples/ww_c_alpha.xtc", "examples/ww_c_alpha.pdb"
    source = open_source(trajectory, top)
    (chunk,) = source.chunks(100)
    c_alpha = torch.from_numpy(np.asarray(chunk.coordinates[:3], dtype=np.float64))
    linked = torch.from_numpy(source.linked)
    atoms, mask = exported(c_alpha, *chains_of(source.topology), 1, 4, None, linked)
    expected = backmap.reconstruct(
        trajectory, top=top, model="diamondback", ddim_steps=4, seed=4, device="cpu"
    )
    assert np.abs(atoms[0][:, mask].numpy() - expected.xyz[:3]).max() < 1e-5
