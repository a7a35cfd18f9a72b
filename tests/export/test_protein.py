"""The exported protein model, read from its file, against the model in Python."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import backmap
from backmap.chemistry import (
    ATOM_MASK,
    HEAVY_ATOMS,
    RESIDUE_NAMES,
    SLOT_C,
    SLOT_CA,
    SLOT_N,
    SLOT_OXT,
    Topology,
)
from backmap.cli.main import main
from backmap.export.torchscript import FORMAT_VERSION, save_torchscript
from backmap.inference.c_alpha_rule import CAlphaRule
from backmap.inference.c_alphas import CAlphaDrawer
from backmap.inference.protein import ProteinBuilder
from backmap.io import open_source
from tests.export.small import chains_of, make_model, random_walk
from tests.rings import circle

SEQUENCES = [("ARNDCQEGHILKMFPSTWYV",), ("GAWPL", "MKV", "F"), ("GG",), ("W",), ("PPAPC", "CPPGH")]


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "model.ts"
    save_torchscript(path, model, {}, "")
    return torch.jit.load(path)


def by_python(
    model,
    topology: Topology,
    linked: np.ndarray,
    c_alpha: torch.Tensor,
    samples: int,
    seed: int,
    device: torch.device | str = "cpu",
    rule: CAlphaRule = CAlphaRule(),  # noqa: B008  # it is frozen
    box: torch.Tensor | None = None,
) -> torch.Tensor:
    """What ``backmap reconstruct`` builds, as a tensor."""
    origin, numbers = c_alpha[:, :1], torch.arange(len(c_alpha))
    engine = ProteinBuilder(model, topology, linked, device)
    beads = (c_alpha - origin).round(decimals=5).float().to(device)
    drawn = CAlphaDrawer(rule, engine.chain).draw(beads, samples=samples, seed=seed, box=box)
    built = engine.reconstruct(drawn, numbers=numbers, samples=samples, seed=seed, box=box)
    return built.cpu().double() + origin[:, None]


@pytest.mark.parametrize("sequences", SEQUENCES, ids="/".join)
@pytest.mark.parametrize(("frames", "samples"), [(1, 1), (4, 3)])
def test_result_is_that_of_python(model, exported, sequences, frames, samples):
    topology = Topology.from_sequences(*sequences)
    c_alpha = random_walk(topology, frames)
    types, offsets = chains_of(topology)
    atoms, mask = exported(c_alpha, types, offsets, samples, 11, bead_noise=-1.0)
    linked = topology.linked(c_alpha.numpy())
    expected = by_python(model, topology, linked, c_alpha, samples, 11, rule=CAlphaRule("keep"))
    assert atoms.shape == (samples, frames, topology.n_residues, 15, 3)
    assert np.array_equal(mask.numpy(), topology.atom_mask)
    assert (atoms - expected)[:, :, mask].abs().max() < 1e-5
    assert not atoms[:, :, ~mask].any()
    assert torch.equal(atoms[:, :, :, SLOT_CA], c_alpha.expand(samples, -1, -1, -1))


@pytest.mark.parametrize(
    ("bead_noise", "rule"), [(0.0, CAlphaRule()), (0.05, CAlphaRule("auto", noise_nm=0.05))]
)
def test_c_alphas_are_drawn_as_in_python(model, exported, bead_noise, rule):
    topology = Topology.from_sequences("ACDEFGHIKLMNPQRSTVWY", "GAPGA")
    c_alpha, (types, offsets) = random_walk(topology, 3), chains_of(topology)
    atoms, mask = exported(c_alpha, types, offsets, 2, 3, bead_noise=bead_noise)
    expected = by_python(model, topology, topology.linked(c_alpha.numpy()), c_alpha, 2, 3, rule=rule)
    assert (atoms - expected)[:, :, mask].abs().max() < 1e-5
    moved = (atoms[:, :, :, SLOT_CA] - c_alpha).norm(dim=-1)
    assert 0.005 < moved.mean() < 0.3 and not torch.equal(atoms[0, :, :, SLOT_CA], atoms[1, :, :, SLOT_CA])


def test_periodic_boxes(model, exported):
    topology = Topology.from_sequences("ACDEFGHIKL", "MNPQR")
    c_alpha = random_walk(topology, 4)
    box = torch.tensor([[3.0, 0, 0], [1.5, 3, 0], [-1.5, 1.5, 3]]).expand(4, 3, 3)
    types, offsets = chains_of(topology)
    atoms, mask = exported(c_alpha, types, offsets, 2, 3, box=box.double())
    linked = topology.linked(c_alpha.numpy())
    expected = by_python(model, topology, linked, c_alpha, 2, 3, box=box)
    assert (atoms - expected)[:, :, mask].abs().max() < 1e-5
    without, _ = exported(c_alpha, types, offsets, 2, 3)
    assert (atoms - without).abs().max() > 1e-3


def test_chain_breaks_are_found_inside(model, exported):
    topology = Topology.from_sequences("ACDEFGHIKL", "MNPQR")
    c_alpha = random_walk(topology, 4)
    c_alpha[:, 4:] += 1.0
    c_alpha[2, 7:] += 0.9 * (c_alpha[2, 7] - c_alpha[2, 6])  # no bond, but the first frame decides
    types, offsets = chains_of(topology)
    linked = topology.linked(c_alpha.numpy())
    assert linked.sum() == 12
    assert exported.find_links(c_alpha, offsets).tolist() == linked.tolist()
    atoms, mask = exported(c_alpha, types, offsets, 2, 3)
    expected = by_python(model, topology, linked, c_alpha, 2, 3)
    assert (atoms - expected)[:, :, mask].abs().max() < 1e-5


def test_links_follow_the_rule_of_the_topology(exported):
    topology = Topology.from_sequences("A" * 40)
    generator = torch.Generator().manual_seed(0)
    for frames in (1, 2, 3, 6):
        steps = torch.empty(frames, 40, 1, dtype=torch.float64).uniform_(0.2, 0.5, generator=generator)
        c_alpha = torch.cumsum(steps, dim=1) * torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
        links = exported.find_links(c_alpha, torch.tensor([0, 40]))
        assert links.tolist() == topology.linked(c_alpha.numpy()).tolist()


def rings_and_a_chain(n_frames: int) -> tuple[Topology, torch.Tensor]:
    """Two rings, the second and the last chain of three, and C-alphas (frames, residues, 3) float64 in nm."""
    topology = replace(Topology.from_sequences("GAWPL", "AGPVRNDK", "GVFCAK"), rings=(1, 2))
    c_alpha = random_walk(topology, n_frames)
    generator = torch.Generator().manual_seed(0)
    noise = 0.01 * torch.randn(n_frames, 14, 3, generator=generator, dtype=torch.float64)
    c_alpha[:, 5:] = torch.cat([circle(8).double(), circle(6).double() + 2.0]) + 4.0 + noise
    return topology, c_alpha.round(decimals=5)


@pytest.mark.parametrize("bead_noise", [-1.0, 0.03])
def test_rings_are_those_of_python(model, exported, bead_noise):
    topology, c_alpha = rings_and_a_chain(3)
    types, offsets = chains_of(topology)
    linked = torch.from_numpy(topology.linked())
    assert linked.sum() == 4 + 8 + 6
    atoms, mask = exported(c_alpha, types, offsets, 2, 11, linked=linked, bead_noise=bead_noise)
    rule = CAlphaRule("keep") if bead_noise < 0 else CAlphaRule(noise_nm=bead_noise)
    expected = by_python(model, topology, linked.numpy(), c_alpha, 2, 11, rule=rule)
    assert np.array_equal(mask.numpy(), topology.atom_mask) and mask[:, SLOT_OXT].sum() == 1
    assert (atoms - expected)[:, :, mask].abs().max() < 1e-5
    opened, _ = exported(c_alpha, types, offsets, 2, 11, bead_noise=bead_noise)
    assert (opened - atoms)[:, :, 5:].abs().max() > 0.05
    if bead_noise < 0:
        closing = atoms[:, :, [12, 18], SLOT_C] - atoms[:, :, [5, 13], SLOT_N]
        assert (closing.norm(dim=-1) - 0.133).abs().max() < 0.01


def test_torn_rings_are_refused(exported):
    topology, c_alpha = rings_and_a_chain(2)
    c_alpha[1, 18] += 1.0
    with pytest.raises(Exception, match="of frame 1 .* are bonded but"):
        exported(c_alpha, *chains_of(topology), linked=torch.from_numpy(topology.linked()))
    broken = torch.from_numpy(topology.linked())
    broken[8] = False
    with pytest.raises(Exception, match="chain 1 .* no breaks"):
        exported(c_alpha, *chains_of(topology), linked=broken)


def test_frames_in_pieces_are_those_of_the_whole(exported):
    topology = Topology.from_sequences("ACDEFGHIKL", "MNPQR")
    c_alpha, (types, offsets) = random_walk(topology, 6), chains_of(topology)
    linked = exported.find_links(c_alpha, offsets)
    whole, _ = exported(c_alpha, types, offsets, 2, 9)
    for rows in (torch.tensor([0, 1]), torch.tensor([5]), torch.tensor([4, 2])):
        piece, _ = exported(c_alpha[rows], types, offsets, 2, 9, rows, linked)
        assert (piece - whole[:, rows]).abs().max() < 1e-5


def test_many_frames_are_built_in_pieces(exported):
    topology = Topology.from_sequences("ACDEFGHIKL" * 10)
    c_alpha, (types, offsets) = random_walk(topology, 45), chains_of(topology)
    linked = exported.find_links(c_alpha, offsets)
    atoms, _ = exported(c_alpha, types, offsets, 2, 9, None, linked)
    last, _ = exported(c_alpha[-1:], types, offsets, 2, 9, torch.tensor([44]), linked)
    assert (atoms[:, -1:] - last).abs().max() < 1e-5


def test_single_precision_and_seeds(exported):
    topology = Topology.from_sequences("ACDEFGHIKL")
    c_alpha, (types, offsets) = random_walk(topology, 2), chains_of(topology)
    double, _ = exported(c_alpha, types, offsets, 1, 5)
    single, _ = exported(c_alpha.float(), types, offsets, 1, 5)
    assert single.dtype == torch.float32
    assert ((single - double).norm(dim=-1) > 1e-4).float().mean() < 0.05  # draws at the edge of a bin
    assert not torch.equal(exported(c_alpha, types, offsets, 1, 6)[0], double)
    largest, _ = exported(c_alpha, types, offsets, 1, 2**63 - 1)
    assert torch.isfinite(largest).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c_alpha": torch.zeros(3, 3)}, "c_alpha has shape [3, 3]; it must be [-1, -1, 3]"),
        ({"c_alpha": torch.zeros(0, 3, 3)}, "c_alpha has shape [0, 3, 3]"),
        ({"c_alpha": torch.zeros(1, 0, 3)}, "c_alpha has shape [1, 0, 3]"),
        ({"c_alpha": torch.zeros(1, 3, 3, dtype=torch.int64)}, "c_alpha has dtype"),
        ({"c_alpha": torch.full((1, 3, 3), torch.nan)}, "not finite"),
        ({"residue_types": torch.zeros(4, dtype=torch.int64)}, "residue_types has shape [4]; it must be [3]"),
        ({"residue_types": torch.zeros(3)}, "residue_types has dtype"),
        ({"residue_types": torch.tensor([0, 20, 0])}, "residue_types must be between 0 and 19"),
        ({"residue_types": torch.tensor([0, -1, 0])}, "residue_types must be between 0 and 19"),
        ({"chain_offsets": torch.tensor([0])}, "at least one chain"),
        ({"chain_offsets": torch.tensor([0.0, 3.0])}, "chain_offsets must be int64"),
        ({"chain_offsets": torch.tensor([1, 3])}, "start at 0 and end at the number of residues, 3"),
        ({"chain_offsets": torch.tensor([0, 2])}, "start at 0 and end at the number of residues, 3"),
        ({"chain_offsets": torch.tensor([0, 2, 2, 3])}, "must be strictly ascending"),
        ({"chain_offsets": torch.tensor([0, 5, 3])}, "must be strictly ascending"),
        ({"samples": 0}, "samples is 0"),
        ({"numbers": torch.tensor([0, 1])}, "numbers has shape [2]; it must be [1]"),
        ({"numbers": torch.tensor([0.0])}, "numbers has dtype"),
        ({"linked": torch.tensor([True, True, True])}, "chain 0 (counted from 0), so this is a ring"),
        (
            {"linked": torch.tensor([False, False, True]), "chain_offsets": torch.tensor([0, 2, 3])},
            "chain 1 (counted from 0), so this is a ring, but rings have at least 4 residues",
        ),
        ({"linked": torch.tensor([1, 1, 0])}, "linked has dtype"),
        (
            {
                "c_alpha": torch.tensor([[[0, 0, 0], [0.38, 0, 0], [7.8, 0, 0]]]),
                "linked": torch.tensor([True, True, False]),
            },
            "residues 1 and 2 of frame 0 (counted from 0) are bonded but 7.4",
        ),
        ({"linked": torch.tensor([True])}, "linked has shape [1]"),
        ({"bead_noise": -0.5}, "bead_noise is -0.5: give a standard deviation"),
        ({"bead_noise": float("nan")}, "bead_noise is nan: give a standard deviation"),
        ({"box": 5 * torch.eye(3)}, "box has shape [3, 3]; it must be [1, 3, 3]"),
        ({"box": 0.5 * torch.eye(3)[None]}, "with ax, by, cz of 1 nm or more"),
        ({"box": torch.tensor([[[3.0, 0, 0], [2, 3, 0], [0, 0, 3]]])}, "|bx| and |cx| at most ax / 2"),
    ],
)
def test_wrong_arguments_are_explained(exported, change, message):
    arguments = {
        "c_alpha": random_walk(Topology.from_sequences("AAA"), 1),
        "residue_types": torch.zeros(3, dtype=torch.int64),
        "chain_offsets": torch.tensor([0, 3]),
    }
    exported(**arguments)
    with pytest.raises(Exception) as error:
        exported(**{**arguments, **change})
    assert message in str(error.value)


def test_file_says_what_it_is(exported):
    assert (exported.family, exported.length_unit) == ("protein", "nm")
    assert exported.residue_names == list(RESIDUE_NAMES)
    for name, slots in zip(RESIDUE_NAMES, exported.atom_names, strict=True):
        assert len(slots) == 15 and slots[14] == "OXT"
        assert [atom for atom in slots[:14] if atom] == list(HEAVY_ATOMS[name])
    assert [[bool(atom) for atom in slots[:14]] for slots in exported.atom_names] == ATOM_MASK[
        :, :14
    ].tolist()


def test_shipped_model_from_the_command_line(tmp_path):
    path = tmp_path / "model.ts"
    assert main(["export", "protein", "-o", str(path), "--quiet"]) == 0
    extra = dict.fromkeys(["format", "metadata.json", "card.md"], "")
    loaded = torch.jit.load(path, _extra_files=extra)
    metadata = json.loads(extra["metadata.json"])
    assert int(extra["format"]) == metadata["format"] == FORMAT_VERSION
    assert metadata["units"] == {"length": "nm"} and metadata["backmap"] == backmap.__version__
    assert len(metadata["weights"]["sha256"]) == 64 and metadata["config"]["packing"]
    assert extra["card.md"] == backmap.models.shipped.shipped_models()["protein"].card.encode()
    source = open_source("examples/2bf5.pdb.gz")
    (chunk,) = source.chunks(10)
    c_alpha = torch.from_numpy(np.asarray(chunk.coordinates[:, source.sites.leaders], dtype=np.float64))
    types, offsets = chains_of(source.topology)
    atoms, mask = loaded(c_alpha, types, offsets, 2, 4)
    expected = backmap.reconstruct("examples/2bf5.pdb.gz", samples=2, seed=4, device="cpu")
    for sample, trajectory in zip(atoms[:, 0, mask], expected, strict=True):
        assert np.abs(sample.numpy() - trajectory.xyz[0]).max() < 1e-5


def test_result_on_cuda_is_that_of_python_on_cuda(tmp_path, cuda):
    save_torchscript(tmp_path / "model.ts", make_model(), {}, "")
    exported = torch.jit.load(tmp_path / "model.ts", map_location=cuda)
    topology = Topology.from_sequences("ARNDCQEGHILKMFPSTWYV", "GAWPL")
    c_alpha, (types, offsets) = random_walk(topology, 4), chains_of(topology)
    atoms, mask = exported(c_alpha.to(cuda), types.to(cuda), offsets.to(cuda), 3, 11)
    linked = topology.linked(c_alpha.numpy())
    expected = by_python(make_model(), topology, linked, c_alpha, 3, 11, cuda)
    assert (atoms.cpu() - expected)[:, :, mask.cpu()].abs().max() < 1e-5
    with pytest.raises(Exception, match="c_alpha is on cpu, but the model is on cuda"):
        exported(c_alpha, types, offsets)


def test_what_cannot_be_exported_is_refused(tmp_path, capsys):
    assert main(["export", "nothing", "-o", str(tmp_path / "model.ts")]) == 2
    assert "neither a shipped model" in capsys.readouterr().err
    assert main(["export", "protein", "--ddim-steps", "5", "-o", str(tmp_path / "model.ts")]) == 2
    assert "applies only to diamondback models" in capsys.readouterr().err
    assert main(["export", "diamondback", "--ddim-steps", "5000", "-o", str(tmp_path / "model.ts")]) == 2
    assert "give at most that many" in capsys.readouterr().err
    (tmp_path / "there.ts").write_text("")
    assert main(["export", "protein", "-o", str(tmp_path / "there.ts")]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there.ts"]
