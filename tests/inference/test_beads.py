"""Frames of beads: the same atoms in any batch, and whatever the beads leave open is drawn."""

import numpy as np
import pytest
import torch

from backmap.chemistry import HEAVY_ATOMS, RESIDUE_INDEX, Topology
from backmap.chemistry.bead_mapping import load_mapping
from backmap.inference.beads import BeadBuilder
from backmap.inference.c_alpha_rule import CAlphaRule
from backmap.models.beads.fitting import BeadFit
from backmap.models.beads.structures import BeadStructures
from backmap.models.shipped import load_model, read_estimator
from tests.beaded import Beaded, crambin, crystal

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model():
    return load_model("protein", CPU)


def builder(
    model, mapping: str, rule: CAlphaRule | None = None, structure: Beaded | None = None
) -> BeadBuilder:
    structure = structure or crystal()
    needs = mapping in ("residue-centre", "martini3", "martini2")
    estimator = read_estimator(load_mapping(mapping)).load(CPU) if needs else None
    layout = structure.layout(mapping)
    return BeadBuilder(
        model, structure.topology, structure.linked, layout, rule or CAlphaRule(), estimator, CPU
    )


def build(engine: BeadBuilder, beads: torch.Tensor, first: int = 0, **how) -> torch.Tensor:
    numbers = torch.arange(first, first + len(beads))
    return engine.reconstruct(beads, numbers=numbers, **({"samples": 2, "seed": 0} | how)).atoms


@pytest.mark.parametrize("mapping", ["residue-centre", "martini3", "c-alpha+side-chain-centre", "backbone"])
def test_atoms_lie_on_exact_beads_near_the_true_ones(model, mapping):
    structure, engine = crystal(), builder(model, mapping)
    beads = structure.beads(mapping)
    built = build(engine, beads)
    distance = engine.image_distance(built, beads)
    assert distance.square().mean().sqrt() < (1e-6 if mapping == "backbone" else 0.005)
    heavy = structure.topology.atom_mask.copy()
    heavy[-1, -1] = False
    true = torch.from_numpy(structure.atoms).float()
    distance = (built - true)[:, :, torch.from_numpy(heavy)].norm(dim=-1)
    assert distance.median() < 0.08
    backbone = (built - true)[:, :, 2:-2, :3].norm(dim=-1).square().mean().sqrt()
    assert backbone < (1e-5 if mapping == "backbone" else 0.06)


@pytest.mark.parametrize(
    "mapping", ["residue-centre", "martini3", "martini2", "c-alpha+side-chain-centre", "primo"]
)
def test_disulfides_stay_closed(model, mapping):
    structure = crambin()
    built = build(builder(model, mapping, structure=structure), structure.beads(mapping), samples=5)[:, 0]
    cysteines = np.flatnonzero(structure.topology.residue_types == RESIDUE_INDEX["CYS"])
    beta, sulfur = (HEAVY_ATOMS["CYS"].index(name) for name in ("CB", "SG"))
    true = structure.atoms[0, cysteines, sulfur]
    bonded = np.triu(np.linalg.norm(true[:, None] - true, axis=-1) < 0.25, 1)
    first, second = (built[:, cysteines[side]] for side in np.nonzero(bonded))
    assert first.shape[1] == 3
    bonds = (first[:, :, sulfur] - second[:, :, sulfur]).norm(dim=-1)
    assert ((bonds > 0.195) & (bonds < 0.215)).all()
    for one, other in ((first, second), (second, first)):  # CB-SG-SG: 104 degrees
        spans = (one[:, :, beta] - other[:, :, sulfur]).norm(dim=-1)
        assert ((spans > 0.28) & (spans < 0.33)).all()


def test_strained_residues_are_drawn_again(model, monkeypatch):
    monkeypatch.setattr(BeadFit, "steps", 9)  # too few for some
    monkeypatch.setattr(BeadFit, "least_noise_nm", 1e-6)
    structure = crystal(50)
    engine, beads = builder(model, "martini3", structure=structure), structure.beads("martini3")
    again = build(engine, beads, samples=8)
    monkeypatch.setattr(BeadStructures, "redraws", 0)
    once = build(engine, beads, samples=8)
    changed = (once != again).flatten(1).any(dim=1)
    assert engine.strained(once).any(dim=-1)[changed].all() and 0 < changed.sum() < 8
    assert not engine.strained(again).any()
    assert engine.image_distance(again, beads).max() < 1e-4


def test_frames_do_not_depend_on_their_batch(model):
    engine, structure = builder(model, "c-alpha+side-chain-centre"), crystal()
    exact = structure.beads("c-alpha+side-chain-centre")
    noise = 0.02 * torch.randn(exact.shape, generator=torch.Generator().manual_seed(0))
    together = build(engine, torch.cat([exact, exact + noise, exact]))
    for frame, beads in enumerate((exact, exact + noise, exact)):
        alone = build(engine, beads, first=frame)
        assert torch.allclose(together[:, frame], alone[:, 0], atol=1e-4)
    assert engine.image_distance(together[:, 1:2], exact + noise).max() > 1e-3


def test_samples_and_seeds_differ_where_beads_leave_room(model):
    engine, beads = builder(model, "residue-centre"), crystal().beads("residue-centre")
    built, other = build(engine, beads), build(engine, beads, seed=1)
    again = build(engine, beads)
    assert torch.equal(built, again)
    between = (built[0] - built[1])[:, :, :4].norm(dim=-1).square().mean().sqrt()
    assert 0.005 < between < 0.1
    assert (built - other).abs().max() > 0.01


def test_noisy_beads_are_met_within_their_noise(model):
    beads = crystal().beads("martini3")
    noise = 0.0124 * torch.randn(beads.shape, generator=torch.Generator().manual_seed(1))
    engine = builder(model, "martini3", CAlphaRule("auto", 0.0124))
    distance = engine.image_distance(build(engine, beads + noise), beads + noise)
    assert 0.005 < distance.square().mean().sqrt() < 3**0.5 * 0.0124


def test_exact_beads_can_be_demanded(model):
    beads = crystal().beads("martini3")
    noise = 0.0124 * torch.randn(beads.shape, generator=torch.Generator().manual_seed(1))
    engine = builder(model, "martini3", CAlphaRule("keep"))
    assert engine.image_distance(build(engine, beads + noise), beads + noise).max() < 1e-4


def test_a_box_without_neighbours_changes_nothing(model):
    engine, beads = builder(model, "martini3"), crystal().beads("martini3")
    box = torch.from_numpy(50 * np.eye(3))[None]
    assert torch.allclose(build(engine, beads), build(engine, beads, box=box), atol=1e-4)


def test_beads_without_c_alphas_need_an_estimator(model):
    structure = crystal()
    with pytest.raises(ValueError, match="estimator"):
        BeadBuilder(
            model, structure.topology, structure.linked, structure.layout("martini3"), CAlphaRule(), None, CPU
        )


def pieces(n_residues: int) -> list[Beaded]:
    """Crambin cut into chains of a few residues each, as separate structures."""
    whole, cut = crambin(), []
    for first in range(0, whole.topology.n_residues - n_residues + 1, 9):
        part = slice(first, first + n_residues)
        types = whole.topology.residue_types[part]
        topology = Topology(types, np.zeros_like(types), ("A",), np.arange(1, n_residues + 1))
        cut.append(Beaded(topology, whole.atoms[:, part]))
    return cut


@pytest.mark.parametrize("n_residues", [1, 2, 3])
@pytest.mark.parametrize(
    ("mapping", "tolerated"),
    [("primo", 0.0), ("residue-centre", 0.0), ("c-alpha+side-chain-centre", 0.05), ("martini3", 0.1)],
)
def test_ends_of_chains_are_sound(model, mapping, tolerated, n_residues):
    strained = []
    for structure in pieces(n_residues):
        engine = builder(model, mapping, structure=structure)
        strained.append(engine.strained(build(engine, structure.beads(mapping), samples=5)))
    assert torch.stack(strained).float().mean() <= tolerated


def test_both_ends_of_a_chain_relax(model):
    structure, mapping = crambin(), "c-alpha+residue-centre"
    engine = builder(model, mapping, structure=structure)
    strained = engine.strained(build(engine, structure.beads(mapping), samples=10))
    assert strained[..., [0, -1]].float().mean() < 0.5 and not strained[..., 3:-3].any()
