"""The protein model exported for the beads of a mapping, read from its file, against the run in Python."""

import json

import numpy as np
import pytest
import torch

import backmap
from backmap.chemistry import RESIDUE_NAMES, Topology
from backmap.chemistry.bead_mapping import load_mapping
from backmap.cli.main import main
from backmap.export.torchscript import save_torchscript
from backmap.inference.beads import BeadBuilder
from backmap.inference.c_alpha_rule import CAlphaRule
from backmap.models.beads.estimator import CAlphaEstimator
from backmap.models.shipped import read_estimator
from tests.beaded import CRAMBIN, Beaded, crambin, crystal
from tests.export.small import chains_of, make_model

MAPPINGS = ["martini3", "residue-centre"]


def estimator(mapping: str) -> CAlphaEstimator:
    loaded = read_estimator(load_mapping(mapping)).load(torch.device("cpu"))
    assert isinstance(loaded, CAlphaEstimator)
    return loaded


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """Exported models by their mappings."""
    loaded = {}
    for name in MAPPINGS:
        path = tmp_path_factory.mktemp("export") / "model.ts"
        save_torchscript(path, model, {}, "", beads=(load_mapping(name), estimator(name)))
        loaded[name] = torch.jit.load(path)
    return loaded


def frames_of(structure: Beaded, mapping: str, noise_nm: float, n_frames: int = 3) -> torch.Tensor:
    """Beads (frames, beads, 3) float64 in nm far from the origin, to five decimals."""
    exact = structure.beads(mapping).double() + 7.0
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(n_frames, *exact.shape[1:], generator=generator, dtype=torch.float64)
    return (exact + noise_nm * noise).round(decimals=5)


def by_python(
    model,
    structure: Beaded,
    mapping: str,
    beads: torch.Tensor,
    rule: CAlphaRule,
    box: torch.Tensor | None = None,
) -> torch.Tensor:
    """What ``backmap reconstruct`` builds with two samples and seed 11."""
    layout, origin = structure.layout(mapping), beads[:, :1]
    builder = BeadBuilder(model, structure.topology, structure.linked, layout, rule, estimator(mapping))
    near = (beads - origin).round(decimals=5).float()
    built = builder.reconstruct(near, numbers=torch.arange(len(beads)), samples=2, seed=11, box=box)
    return built.atoms.double() + origin[:, None]


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("structure", [crystal(), crambin()], ids=["2bf5", "1ab1"])
@pytest.mark.parametrize(
    ("noise_nm", "bead_noise", "rule"),
    [
        (0.0, -1.0, CAlphaRule("keep")),
        (0.0, 0.0, CAlphaRule()),
        (0.03, 0.0, CAlphaRule()),
        (0.0124, 0.0124, CAlphaRule(noise_nm=0.0124)),
    ],
)
def test_result_is_that_of_python(model, exported, mapping, structure, noise_nm, bead_noise, rule):
    beads = frames_of(structure, mapping, noise_nm)
    atoms, mask = exported[mapping](beads, *chains_of(structure.topology), 2, 11, bead_noise=bead_noise)
    expected = by_python(model, structure, mapping, beads, rule)
    assert atoms.shape == expected.shape and torch.equal(mask, torch.from_numpy(structure.topology.atom_mask))
    # Rounding may decide a draw, which changes a residue, but hardly ever.
    off = (atoms - expected)[:, :, mask].abs().amax(dim=(2, 3))
    assert off.median() < 1e-5 and (off < 1e-4).float().mean() > 0.6
    assert not torch.equal(atoms[0], atoms[1])


def test_periodic_boxes_and_pieces(model, exported):
    structure = crystal()
    beads, (types, offsets) = frames_of(structure, "martini3", 0.0), chains_of(structure.topology)
    box = torch.diag(torch.tensor([4.0, 4.0, 4.0])).expand(3, 3, 3)
    atoms, mask = exported["martini3"](beads, types, offsets, 2, 11, box=box.double())
    expected = by_python(model, structure, "martini3", beads, CAlphaRule(), box)
    assert (atoms - expected)[:, :, mask].abs().amax(dim=(2, 3)).median() < 1e-5
    one, _ = exported["martini3"](beads[1:2], types, offsets, 2, 11, torch.tensor([1]), box=box[1:2])
    assert (one[:, 0] - atoms[:, 1])[:, mask].abs().max() < 1e-4


def test_breaks_are_found(exported):
    structure = crystal()
    beads, (types, offsets) = frames_of(structure, "martini3", 0.0), chains_of(structure.topology)
    first = torch.from_numpy(structure.layout("martini3").residues) >= 20
    beads[:, first] += 1.0
    links = exported["martini3"].find_links(beads, types, offsets)
    assert torch.nonzero(~links).flatten().tolist() == [19, 39]
    atoms, mask = exported["martini3"](beads, types, offsets)
    assert torch.isfinite(atoms).all() and atoms[:, :, mask].abs().min() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda call: call | {"beads": call["beads"][:, 1:]},
            "beads has .* beads a frame; these residues have",
        ),
        (lambda call: call | {"beads": call["beads"] * torch.nan}, "not finite"),
        (lambda call: call | {"bead_noise": 0.5}, "at most 0.3 nm"),
        (lambda call: call | {"samples": 0}, "at least 1"),
        (lambda call: call | {"residue_types": call["residue_types"] + 20}, "between 0 and 19"),
        (lambda call: call | {"chain_offsets": torch.tensor([0, 10])}, "chain_offsets must start at 0"),
    ],
)
def test_bad_input(exported, change, message):
    structure = crystal()
    types, offsets = chains_of(structure.topology)
    call = {"beads": frames_of(structure, "martini3", 0.0), "residue_types": types, "chain_offsets": offsets}
    with pytest.raises(Exception, match=message):
        exported["martini3"](**change(call))


def test_command_line(tmp_path, capsys):
    """The shipped model in its file builds what ``backmap.reconstruct`` does."""
    path, centres = tmp_path / "martini3.ts", tmp_path / "beads.pdb"
    assert main(["export", "protein", "--beads", "martini3", "-o", str(path)]) == 0
    assert "martini3" in capsys.readouterr().err
    assert main(["coarse-grain", str(CRAMBIN), "--beads", "martini3", "-o", str(centres)]) == 0
    extra = {"metadata.json": ""}
    module = torch.jit.load(path, _extra_files=extra)
    described = json.loads(extra["metadata.json"])
    assert described["beads"] == "martini3" and described["bead_model"]["sha256"]
    assert described["bead_names"][RESIDUE_NAMES.index("TRP")] == ["BB", "SC1", "SC2", "SC3", "SC4", "SC5"]
    import mdtraj

    given = mdtraj.load(str(centres))
    names = [atom.residue.name for atom in given.topology.atoms if atom.name == "BB"]
    types = torch.tensor([RESIDUE_NAMES.index(name) for name in names])
    atoms, mask = module(torch.from_numpy(given.xyz).double(), types, torch.tensor([0, len(types)]), 1, 4)
    built = backmap.reconstruct(given, beads="martini3", seed=4)
    topology = Topology.from_sequences("A" * len(types))
    assert mask[-1].sum() > 0 and topology.n_residues == built.topology.n_residues
    off = np.abs(atoms[0, 0][mask].numpy() - built.xyz[0])
    assert np.median(off) < 1e-5 and (off < 1e-3).mean() > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["protein", "--beads", "backbone"], "beads backbone include the C-alphas"),
        (["protein", "--beads", "nothing"], "neither a bead mapping"),
        (["diamondback", "--beads", "martini3"], "applies only to protein models as TorchScript"),
        (["protein", "--bead-model", "any.safetensors"], "bead-model: applies only with --beads"),
    ],
)
def test_what_cannot_be_exported_is_refused(tmp_path, capsys, arguments, message):
    import re

    assert main(["export", *arguments, "-o", str(tmp_path / "out.ts")]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())
