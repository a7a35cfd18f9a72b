"""Disulfides from C-alphas: hen lysozyme (four bonds, one free cysteine) and crambin (three bonds).

Crambin's C-alphas (PDB 1AB1) come from the tests of cg2all (Apache 2.0).
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from backmap.chemistry import RESIDUE_INDEX, SLOT_CA, SLOT_CB, Topology
from backmap.export.protein import ExportedProtein
from backmap.inference.protein import ProteinBuilder
from backmap.io import open_source
from backmap.models.chain import Chain
from backmap.models.checkpoint import load_model
from backmap.models.counter_random import stream_keys
from backmap.models.protein.disulfides import Disulfides, _match
from backmap.models.protein.geometry import torsion_angle
from backmap.models.shipped import DEFAULT_MODEL, require_model, shipped_models
from tests.models.conftest import helix
from tests.proteins import atoms_in_slots

CASES = Path(__file__).parents[2] / "data" / "cases"
LYSOZYME, CRAMBIN = CASES / "physics" / "lyso_ca.pdb", CASES / "beads" / "1ab1_A.calpha.pdb"
BONDS = {LYSOZYME: [(24, 145), (48, 133), (82, 98), (94, 112)], CRAMBIN: [(3, 40), (4, 32), (16, 26)]}
SLOT_SG = 5
CYSTEINE = RESIDUE_INDEX["CYS"]


@pytest.fixture(scope="module")
def model():
    if DEFAULT_MODEL not in shipped_models():
        pytest.skip("no model is shipped")
    return load_model(require_model(DEFAULT_MODEL))


class Protein:
    """C-alphas (1, residues, 3) near the origin, with their residues."""

    def __init__(self, path: Path) -> None:
        source = open_source(path)
        coordinates = atoms_in_slots(source)[:, :, SLOT_CA]
        self.topology, self.linked = source.topology, source.linked
        self.c_alpha = torch.tensor(coordinates - coordinates[:, :1], dtype=torch.float32)
        self.row = {int(number): row for row, number in enumerate(self.topology.residue_numbers)}
        self.bonds = [tuple(self.row[number] for number in bond) for bond in BONDS[path]]

    def build(self, model, samples, seed, present=None, disulfides=None, given=None) -> torch.Tensor:
        """(samples, residues, 15, 3)."""
        bonds = None if disulfides is None else np.array(disulfides, dtype=np.int64).reshape(-1, 2)
        engine = ProteinBuilder(model, self.topology, self.linked, "cpu", present, bonds)
        numbers = torch.arange(1)
        return engine.reconstruct(self.c_alpha, numbers=numbers, samples=samples, seed=seed, given=given)[
            :, 0
        ]


@pytest.fixture(params=[LYSOZYME, CRAMBIN], ids=lambda path: path.stem)
def protein(request):
    return Protein(request.param)


def sulfur_distances(atoms: torch.Tensor, topology: Topology) -> dict[tuple[int, int], torch.Tensor]:
    """Distance (samples,) in nm of every pair of cysteines' sulfurs."""
    rows = np.flatnonzero(topology.residue_types == CYSTEINE).tolist()
    pairs = [(a, b) for index, a in enumerate(rows) for b in rows[index + 1 :]]
    return {(a, b): (atoms[:, a, SLOT_SG] - atoms[:, b, SLOT_SG]).norm(dim=-1) for a, b in pairs}


def bend(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Angle at b in degrees."""
    cosine = torch.nn.functional.cosine_similarity(a - b, c - b, dim=-1)
    return torch.rad2deg(torch.acos(cosine))


@pytest.mark.parametrize("seed", [1000, 2000, 3000])
def test_all_disulfides_are_found_and_closed(model, protein, seed):
    atoms = protein.build(model, 20, seed)
    distances = sulfur_distances(atoms, protein.topology)
    bonded = torch.stack([(distances[bond] - 0.203).abs() < 0.005 for bond in protein.bonds])
    assert bonded.all(dim=0).float().mean() >= 0.95
    everything = torch.stack(list(distances.values()))
    assert not ((everything < 0.198) | ((everything > 0.21) & (everything < 0.30))).any()
    for first, second in protein.bonds:
        cb, sg, other_sg, other_cb = (
            atoms[:, row, slot]
            for row, slot in zip((first, first, second, second), (4, 5, 5, 4), strict=True)
        )
        for angle in (bend(cb, sg, other_sg), bend(other_cb, other_sg, sg)):
            assert (angle - 104).abs().max() < 12 and (angle.median() - 104).abs() < 4
        chi3 = torch.rad2deg(torsion_angle(cb, sg, other_sg, other_cb)).abs()
        assert chi3.min() > 30 and chi3.max() < 150 and 55 < chi3.median() < 115
        for row in (first, second):
            assert (bend(atoms[:, row, SLOT_CA], atoms[:, row, 4], atoms[:, row, 5]) - 114).abs().max() < 8
            assert ((atoms[:, row, 4] - atoms[:, row, 5]).norm(dim=-1) - 0.181).abs().max() < 0.004
            assert ((atoms[:, row, 4] - atoms[:, row, 1]).norm(dim=-1) - 0.153).abs().max() < 0.003


def test_known_bonds_win(model, protein):
    """One bond is named and the other cysteines are named free; the model would bond them."""
    named, *others = protein.bonds
    free = [(row, row) for bond in others for row in bond]
    distances = sulfur_distances(protein.build(model, 10, 1, disulfides=[named, *free]), protein.topology)
    assert (distances.pop(named) - 0.203).abs().max() < 0.005
    assert torch.stack(list(distances.values())).min() > 0.30


def test_of_cysteines_that_are_not_named_the_model_decides(model, protein):
    distances = sulfur_distances(protein.build(model, 5, 1, disulfides=protein.bonds[:1]), protein.topology)
    assert torch.stack([distances[bond] for bond in protein.bonds]).max() < 0.21


def test_a_cysteine_bonds_to_one_that_is_given(model, protein):
    built = protein.build(model, 1, 7)
    given = torch.zeros(1, protein.topology.n_residues, 15, 3)
    present = np.zeros(given.shape[1:3], dtype=bool)
    for row, _ in protein.bonds:
        present[row, SLOT_SG] = True
        given[0, row, SLOT_SG] = built[0, row, SLOT_SG] + 0.003
    atoms = protein.build(model, 10, 8, present=present, given=given)
    rows = [row for row, _ in protein.bonds]
    assert torch.equal(atoms[:, rows, SLOT_SG], given[:, rows, SLOT_SG].expand(10, -1, -1))
    distances = sulfur_distances(atoms, protein.topology)
    assert torch.stack([(distances[b] - 0.203).abs() < 0.005 for b in protein.bonds]).float().mean() > 0.8


def test_given_sulfurs_decide(model, protein):
    """Sulfurs that are given far from each other are not bonded, and stay, although the C-alphas allow it."""
    built = protein.build(model, 1, 7)
    given = torch.zeros(1, protein.topology.n_residues, 15, 3)
    present = np.zeros(given.shape[1:3], dtype=bool)
    for first, second in protein.bonds:
        for row, sign in ((first, -1.0), (second, 1.0)):
            present[row, SLOT_SG] = True
            apart = built[0, second, SLOT_SG] - built[0, first, SLOT_SG]
            given[0, row, SLOT_SG] = built[0, row, SLOT_SG] + sign * 0.4 * apart
    atoms = protein.build(model, 3, 8, present=present, given=given)
    kept = torch.from_numpy(present)
    assert torch.equal(atoms[:, kept], given[:, kept].expand(3, -1, -1))


def test_a_sample_depends_on_nothing_beside_it(model, protein):
    together, first = protein.build(model, 6, 5), protein.build(model, 1, 5)
    assert torch.allclose(together[:1], first, atol=1e-5)


def test_free_cysteines_of_a_helix_stay_free(model):
    topology = Topology.from_sequences("AACAAACCAAACAA")
    engine = ProteinBuilder(model, topology, topology.linked())
    atoms = engine.reconstruct(helix(14)[None], numbers=torch.arange(1), samples=50, seed=3)[:, 0]
    assert torch.stack(list(sulfur_distances(atoms, topology).values())).min() > 0.30


def test_chains_are_bonded_to_each_other(model):
    """A bond of crambin whose residues belong to two chains now."""
    protein = Protein(CRAMBIN)
    topology = protein.topology
    chain_index = (np.arange(topology.n_residues) >= 20).astype(np.int64)
    linked = protein.linked.copy()
    linked[19] = False
    split = Topology(topology.residue_types, chain_index, ("A", "B"), topology.residue_numbers)
    engine = ProteinBuilder(model, split, linked)
    atoms = engine.reconstruct(protein.c_alpha, numbers=torch.arange(1), samples=10, seed=1)[:, 0]
    distances = sulfur_distances(atoms, split)
    assert (torch.stack([distances[bond] for bond in protein.bonds]) < 0.21).float().mean() > 0.9


def test_torchscript_builds_the_same(model, protein):
    exported = torch.jit.script(ExportedProtein(model).eval())
    types = torch.from_numpy(protein.topology.residue_types)
    atoms, mask = exported(protein.c_alpha, types, torch.tensor([0, len(types)]), 3, 1000)
    expected = protein.build(model, 3, 1000)
    assert (atoms[:, 0] - expected)[:, mask].abs().max() < 1e-4


def test_without_two_cysteines_near_each_other_nothing_is_done():
    topology = Topology.from_sequences("ACAAAAAAAAC")
    chain = Chain.from_arrays(topology.residue_types, topology.chain_index, topology.linked(), "cpu")
    candidates, backbone = torch.randn(2, 11, 4, 10, 3), torch.randn(2, 11, 4, 3)
    backbone[:, :, SLOT_CA] = helix(11)
    keys = stream_keys(0, 1, torch.arange(2)).flatten()
    assert Disulfides()(candidates, backbone, chain, keys, 5)[0] is candidates


def test_sulfurs_are_kept_apart_whatever_the_packing_chooses():
    torch.manual_seed(1)
    candidates = torch.randn(8, 3, 16, 10, 3) * 0.2
    slot = SLOT_SG - SLOT_CB
    pairs = torch.tensor([[0, 1], [0, 2], [1, 2]])
    before = candidates.clone()
    Disulfides()._keep_apart(candidates, pairs, torch.zeros(8, 3, dtype=torch.bool), torch.rand(8, 3))
    for first, second in pairs.tolist():
        apart = torch.cdist(candidates[:, first, :, slot], candidates[:, second, :, slot])
        assert apart.min() > 0.30
    kept = (candidates[:, :, :, None, slot] == before[:, :, None, :, slot]).all(dim=-1).any(dim=-1)
    assert kept.all()


def test_bonds_beside_each_other_keep_their_sulfurs_apart():
    """Two bonds of one frame, each with two ways to close, of which the likelier ones collide."""
    frame, pair = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    places = torch.tensor([[[0.0, 0.2], [-1.0, -0.8]], [[0.1, 0.3], [1.0, 1.2]]])
    sulfurs = torch.zeros(4, 2, 2, 3)
    sulfurs[..., 0] = places[[0, 1, 0, 1]]
    sulfurs[3] += 5.0
    worth = torch.tensor([[0.0, -20.0]]).expand(4, -1)
    trial = Disulfides()._choose_together(frame, pair, sulfurs, worth, torch.full((4,), 0.5))
    assert sorted(trial[:2].tolist()) == [0, 1] and trial[2:].tolist() == [0, 0]


def test_each_cysteine_has_one_bond_and_the_likeliest_come_first():
    sites = torch.tensor([[0, 1], [1, 2], [2, 3], [4, 5], [5, 6]])
    odds = torch.tensor([1.0, 3.0, 2.0, 5.0, 4.0])
    assert _match(sites, odds, torch.ones(5, dtype=torch.bool)).tolist() == [False, True, False, True, False]
    possible = torch.tensor([True, False, True, True, True])
    assert _match(sites, odds, possible).tolist() == [True, False, True, True, False]
