"""The protein model exported for the beads of a mapping, read from its file, against the run in Python."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

import backmap
from backmap.chemistry import RESIDUE_NAMES, SLOT_C, SLOT_CA, SLOT_N, SLOT_OXT, Topology
from backmap.chemistry.bead_mapping import load_mapping, shipped_mappings
from backmap.cli.main import main
from backmap.export.torchscript import make_exportable, save_torchscript
from backmap.inference.beads import BeadBuilder
from backmap.inference.c_alpha_rule import CAlphaRule
from backmap.inference.protein import ProteinBuilder
from backmap.models.beads.estimator import CAlphaEstimator
from backmap.models.shipped import load_model, read_estimator
from tests.beaded import CRAMBIN, Beaded, crambin, crystal
from tests.export.small import chains_of, make_model
from tests.rings import circle

WITH_C_ALPHAS = ["awsem", "sirah", "backbone", "c-alpha+side-chain-centre"]
MAPPINGS = ["martini3", "residue-centre", *WITH_C_ALPHAS]


def estimator(mapping: str) -> CAlphaEstimator | None:
    if load_mapping(mapping).main_is_c_alpha:
        return None
    loaded = read_estimator(load_mapping(mapping)).load(torch.device("cpu"))
    assert isinstance(loaded, CAlphaEstimator)
    return loaded


def compiled(model, mapping: str) -> Callable:
    """The model exported for a mapping, which runs without being optimised first."""
    module = torch.jit.script(make_exportable(model, beads=(load_mapping(mapping), estimator(mapping))))

    def call(*arguments):
        with torch.jit.optimized_execution(False):
            return module(*arguments)

    return call


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


@pytest.fixture(scope="module")
def ring():
    """A cyclic peptide with all atoms."""
    topology = replace(Topology.from_sequences("AGPVRNDK"), rings=(0,))
    builder = ProteinBuilder(load_model("protein", torch.device("cpu")), topology, topology.linked())
    atoms = builder.reconstruct(circle(8)[None], numbers=torch.arange(1), samples=1, seed=0)
    return Beaded(topology, atoms[0].double().numpy())


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
    linked: np.ndarray | None = None,
) -> torch.Tensor:
    """What ``backmap reconstruct`` builds with two samples and seed 11."""
    layout, origin = structure.layout(mapping), beads[:, :1]
    linked = structure.linked if linked is None else linked
    builder = BeadBuilder(model, structure.topology, linked, layout, rule, estimator(mapping))
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


@pytest.mark.parametrize("mapping", WITH_C_ALPHAS)
def test_beads_that_are_atoms_stay_in_place(exported, mapping):
    structure = crystal()
    layout, beads = structure.layout(mapping), frames_of(structure, mapping, 0.0)
    atoms, _ = exported[mapping](beads, *chains_of(structure.topology), 2, 11, bead_noise=-1.0)
    seen = (layout.weights == 1.0).any(axis=1)
    there = atoms[:, :, layout.residues[seen], layout.weights[seen].argmax(axis=1)]
    assert seen.sum() >= 40 and torch.equal(there, beads[:, seen].expand_as(there))


def test_noisy_and_exact_frames_do_not_depend_on_each_other(exported):
    structure = crystal()
    beads, chains = frames_of(structure, "awsem", 0.03), chains_of(structure.topology)
    beads[1] = frames_of(structure, "awsem", 0.0)[1]
    together, mask = exported["awsem"](beads, *chains, 2, 11)
    for frame in range(3):
        number = torch.tensor([frame])
        single, _ = exported["awsem"](beads[frame : frame + 1], *chains, 2, 11, number)
        assert (single[:, 0] - together[:, frame])[:, mask].abs().amax(dim=(1, 2)).median() < 1e-4
    c_alphas = torch.from_numpy(structure.layout("awsem").main)
    moved = (together[:, :, :, SLOT_CA] - beads[:, c_alphas]).norm(dim=-1).amax(dim=(0, 2))
    assert (moved > 0.01).tolist() == [True, False, True]


OTHERS = sorted(set(shipped_mappings()) - {*MAPPINGS, "c-alpha", "primo"})


@pytest.mark.parametrize("mapping", OTHERS)
def test_every_mapping_is_exported(model, mapping):
    structure = crystal(20, 12)
    beads = frames_of(structure, mapping, 0.0, n_frames=1)
    atoms, mask = compiled(model, mapping)(beads, *chains_of(structure.topology), 2, 11)
    expected = by_python(model, structure, mapping, beads, CAlphaRule())
    assert (atoms - expected)[:, :, mask].abs().amax(dim=(1, 2, 3)).median() < 1e-5


def test_residues_without_beads_are_refused(model):
    call = torch.zeros(1, 3, 3), torch.tensor([RESIDUE_NAMES.index("TRP")]), torch.tensor([0, 1])
    with pytest.raises(Exception, match="beads primo have no beads of TRP"):
        compiled(model, "primo")(*call)


@pytest.mark.parametrize("mapping", ["martini3", "backbone"])
def test_several_chains(model, exported, mapping):
    """Three chains, the first of which is broken."""
    one = crystal()
    index = np.repeat(np.arange(3), (20, 15, 5))
    numbers = np.arange(40) + 5 * (np.arange(40) >= 8)
    several = replace(one, topology=Topology(one.topology.residue_types, index, ("A", "B", "C"), numbers))
    beads = frames_of(several, mapping, 0.0)
    beads[:, several.layout(mapping).residues >= 8] += 1.0
    linked = several.linked & (np.arange(40) != 7)
    module, (types, offsets) = exported[mapping], chains_of(several.topology)
    assert module.find_links(beads, types, offsets).tolist() == linked.tolist()
    atoms, mask = module(beads, types, offsets, 2, 11)
    expected = by_python(model, several, mapping, beads, CAlphaRule(), linked=linked)
    assert np.array_equal(mask.numpy(), several.topology.atom_mask)
    off = (atoms - expected)[:, :, mask].abs().amax(dim=(2, 3))
    assert off.median() < 1e-5


@pytest.mark.parametrize("mapping", ["martini3", "residue-centre", "awsem", "c-alpha+side-chain-centre"])
@pytest.mark.parametrize("bead_noise", [-1.0, 0.02])
def test_rings(model, exported, ring, mapping, bead_noise):
    beads = frames_of(ring, mapping, max(bead_noise, 0.0))
    linked = torch.from_numpy(ring.linked)
    assert linked.all()
    atoms, mask = exported[mapping](
        beads, *chains_of(ring.topology), 2, 11, linked=linked, bead_noise=bead_noise
    )
    rule = CAlphaRule("keep") if bead_noise < 0 else CAlphaRule(noise_nm=bead_noise)
    expected = by_python(model, ring, mapping, beads, rule)
    assert np.array_equal(mask.numpy(), ring.topology.atom_mask) and not mask[:, SLOT_OXT].any()
    assert (atoms - expected)[:, :, mask].abs().amax(dim=(2, 3)).median() < 1e-5
    closing = atoms[:, :, -1, SLOT_C] - atoms[:, :, 0, SLOT_N]
    assert (closing.norm(dim=-1) - 0.133).abs().max() < 0.02


@pytest.mark.parametrize("mapping", ["martini3", "backbone"])
def test_periodic_boxes_and_pieces(model, exported, mapping):
    structure, module = crystal(), exported[mapping]
    beads, (types, offsets) = frames_of(structure, mapping, 0.0), chains_of(structure.topology)
    box = torch.diag(torch.tensor([4.0, 4.0, 4.0])).expand(3, 3, 3)
    atoms, mask = module(beads, types, offsets, 2, 11, box=box.double())
    expected = by_python(model, structure, mapping, beads, CAlphaRule(), box)
    assert (atoms - expected)[:, :, mask].abs().amax(dim=(2, 3)).median() < 1e-5
    one, _ = module(beads[1:2], types, offsets, 2, 11, torch.tensor([1]), box=box[1:2])
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


@pytest.mark.parametrize("mapping", ["martini3", "awsem"])
def test_command_line(tmp_path, capsys, mapping):
    """The shipped model in its file builds what ``backmap.reconstruct`` does."""
    path, beads = tmp_path / "model.ts", tmp_path / "beads.pdb"
    assert main(["export", "protein", "--beads", mapping, "-o", str(path)]) == 0
    assert f"beads {mapping}" in capsys.readouterr().err
    assert main(["coarse-grain", str(CRAMBIN), "--beads", mapping, "-o", str(beads)]) == 0
    extra = {"metadata.json": ""}
    module = torch.jit.load(path, _extra_files=extra)
    described = json.loads(extra["metadata.json"])
    assert described["beads"] == mapping and ("bead_model" in described) == (mapping == "martini3")
    names = [bead.name for bead in load_mapping(mapping).beads["TRP"]]
    assert described["bead_names"][RESIDUE_NAMES.index("TRP")] == names
    import mdtraj

    given = mdtraj.load(str(beads))
    types = torch.tensor([RESIDUE_NAMES.index(residue.name) for residue in given.topology.residues])
    atoms, mask = module(torch.from_numpy(given.xyz).double(), types, torch.tensor([0, len(types)]), 1, 4)
    built = backmap.reconstruct(given, beads=mapping, seed=4)
    assert mask.sum() == built.n_atoms
    off = np.abs(atoms[0, 0][mask].numpy() - built.xyz[0])
    assert np.median(off) < 1e-5 and (off < 1e-3).mean() > 0.9


def test_c_alphas_are_the_default(tmp_path):
    path = tmp_path / "model.ts"
    assert main(["export", "protein", "--beads", "c-alpha", "-o", str(path), "--quiet"]) == 0
    assert not hasattr(torch.jit.load(path), "bead_names")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["protein", "--beads", "nothing"], "neither a bead mapping"),
        (["diamondback", "--beads", "martini3"], "applies only to protein models as TorchScript"),
        (["protein", "--bead-model", "any.safetensors"], "bead-model: applies only with --beads"),
        (["protein", "--beads", "awsem", "--bead-model", "any.safetensors"], "of a mapping without C-alphas"),
    ],
)
def test_what_cannot_be_exported_is_refused(tmp_path, capsys, arguments, message):
    import re

    assert main(["export", *arguments, "-o", str(tmp_path / "out.ts")]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())
