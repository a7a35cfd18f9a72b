"""Given atoms stay exactly where they are, and what is built beside them fits them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from backmap.chemistry import (
    ATOM_MASK,
    SIDE_CHAIN,
    SLOT_C,
    SLOT_CA,
    SLOT_CB,
    SLOT_N,
    SLOT_O,
    SLOT_OXT,
    Topology,
)
from backmap.chemistry.ideal_geometry import ideal_bond_lengths
from backmap.evaluation.clashes import bonds_and_clashes
from backmap.inference.protein import ProteinBuilder
from backmap.io import open_source
from backmap.models.chain import Chain
from backmap.models.protein.geometry import torsion_angle
from backmap.models.protein.given_atoms import Given, standing_atoms, usable
from backmap.models.protein.settling import SpringFinder, settle, strain
from backmap.models.protein.side_chains import measure_chi, wrong_hand
from backmap.models.shipped import load_model
from tests.proteins import atoms_in_slots, present_atoms

EXAMPLE = Path(__file__).parents[3] / "examples" / "2bf5.pdb.gz"
BACKBONE = [SLOT_N, SLOT_CA, SLOT_C, SLOT_O]


@dataclass(frozen=True)
class Structure:
    """A crystal structure near the origin: atoms (1, residues, 15, 3) nm, NaN where one is missing."""

    topology: Topology
    linked: np.ndarray
    present: np.ndarray
    atoms: torch.Tensor

    def start(self, residues: int) -> Structure:
        """The first residues."""
        topology = Topology(
            self.topology.residue_types[:residues],
            self.topology.chain_index[:residues],
            self.topology.chain_ids,
            self.topology.residue_numbers[:residues],
        )
        linked = self.linked[:residues].copy()
        linked[-1] = False
        return Structure(topology, linked, self.present[:residues], self.atoms[:, :residues])


@pytest.fixture(scope="module")
def model():
    return load_model("protein", torch.device("cpu"))


@pytest.fixture(scope="module")
def structure() -> Structure:
    source = open_source(EXAMPLE)
    atoms = atoms_in_slots(source)
    near = torch.from_numpy((atoms - atoms[:, :1, SLOT_CA : SLOT_CA + 1]).astype(np.float32))
    return Structure(source.topology, source.linked, present_atoms(source), near)


def only(structure: Structure, *slots: int) -> np.ndarray:
    """Mask of the C-alphas and of the atoms of some slots."""
    kept = np.zeros_like(structure.present)
    kept[:, [SLOT_CA, *slots]] = True
    return kept & structure.present


def at_random(structure: Structure, share: float) -> np.ndarray:
    """Mask of the C-alphas and of a random share of the other atoms."""
    kept = structure.present & (np.random.default_rng(1).random(structure.present.shape) < share)
    kept[:, SLOT_CA] = True
    return kept


def build(
    model,
    structure: Structure,
    kept: np.ndarray | None,
    atoms: torch.Tensor | None = None,
    first_frame: int = 0,
    **settings: int,
) -> torch.Tensor:
    atoms = structure.atoms if atoms is None else atoms
    engine = ProteinBuilder(model, structure.topology, structure.linked, present=kept)
    settings = {"samples": 1, "seed": 0, **settings}
    numbers = torch.arange(first_frame, first_frame + len(atoms))
    given = None if kept is None else atoms
    return engine.reconstruct(atoms[:, :, SLOT_CA], numbers=numbers, given=given, **settings)


def bond_deviations(structure: Structure, built: torch.Tensor, kept: np.ndarray) -> np.ndarray:
    """Relative deviation (samples, bonds) of bonds that have an atom that was built."""
    bonds = structure.topology.bonds(structure.linked)
    exists, given = structure.topology.atom_mask.reshape(-1), kept.reshape(-1)
    bonds = bonds[exists[bonds].all(axis=1) & ~given[bonds].all(axis=1)]
    flat = built[:, 0].flatten(1, 2).numpy()
    lengths = np.linalg.norm(flat[:, bonds[:, 0]] - flat[:, bonds[:, 1]], axis=-1)
    return np.abs(lengths / ideal_bond_lengths(structure.topology, bonds) - 1)


def clashes(structure: Structure, built: torch.Tensor) -> float:
    """Share of residues that clash."""
    topology, mask = structure.topology, structure.topology.atom_mask
    bonds = topology.bonds(structure.linked)
    bonds = bonds[mask.reshape(-1)[bonds].all(axis=1)]
    lengths = ideal_bond_lengths(topology, bonds)
    atoms = built.numpy().astype(np.float64)
    following = structure.topology.following(structure.linked)
    return float(bonds_and_clashes(atoms, mask, following, bonds, lengths)[1].mean())


def right_handed(structure: Structure, built: torch.Tensor) -> torch.Tensor:
    """Which residues (samples, residues) are L-amino acids, branches of side chains included."""
    types = torch.from_numpy(structure.topology.residue_types)
    side = torch.from_numpy(structure.topology.atom_mask[:, SLOT_CB])
    return ~wrong_hand(built[:, 0], types) | ~side


def test_c_alphas_alone_are_nothing_given(model, structure):
    alone = build(model, structure, None, samples=2)
    assert torch.equal(build(model, structure, only(structure), samples=2), alone)
    nothing = np.zeros_like(structure.present)
    assert torch.equal(build(model, structure, nothing, samples=2), alone)


def test_a_model_made_ready_for_atoms_wants_them(model, structure):
    engine = ProteinBuilder(model, structure.topology, structure.linked, present=structure.present)
    with pytest.raises(ValueError, match="none are given"):
        engine.reconstruct(
            structure.atoms[:, :, SLOT_CA], numbers=torch.zeros(1, dtype=torch.int64), samples=1, seed=0
        )


def test_a_whole_structure_stays_as_it_is(model, structure):
    built = build(model, structure, structure.present, samples=2)
    assert torch.equal(
        built[:, :, structure.present], structure.atoms[:, structure.present].expand(2, -1, -1, -1)
    )


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_what_is_missing_fits_what_is_given(model, structure, share):
    kept = at_random(structure, share)
    built = build(model, structure, kept, samples=3)
    assert torch.isfinite(built).all()
    assert torch.equal(built[:, :, kept], structure.atoms[:, kept].expand(3, -1, -1, -1))
    # Measured on 40 structures: all bonds, all but one residue in ten thousand.
    assert (bond_deviations(structure, built, kept) <= 0.1).mean() > 0.999
    assert right_handed(structure, built).float().mean() > 0.99
    assert clashes(structure, built) < 0.01
    missing = torch.from_numpy(structure.topology.atom_mask & ~kept)
    apart = (built[0] - built[1]).norm(dim=-1)[0]
    assert not apart[~missing & torch.from_numpy(structure.topology.atom_mask)].any()
    assert (apart[missing] > 0.01).any()


def test_side_chains_are_built_on_a_given_backbone(model, structure):
    kept = only(structure, *BACKBONE)
    built = build(model, structure, kept, samples=3)
    assert (bond_deviations(structure, built, kept) <= 0.1).all()
    assert right_handed(structure, built).all()
    assert clashes(structure, built) < 0.005


def test_a_given_c_beta_turns_the_backbone(model, structure):
    """C-alphas and CB, as some coarse-grained models have them: the backbone comes nearer to the true one."""
    kept, true = only(structure, SLOT_CB), structure.atoms[0, :, BACKBONE]
    built = build(model, structure, kept, samples=5)
    assert (bond_deviations(structure, built, kept) <= 0.1).all()
    assert right_handed(structure, built).all()
    errors = [
        (atoms[:, 0, :, BACKBONE] - true).square().sum(-1).mean().sqrt()
        for atoms in (built, build(model, structure, None, samples=5))
    ]
    assert errors[0] < 0.7 * errors[1]


@pytest.mark.parametrize("slots", [(SLOT_N, SLOT_C), (SLOT_N,), (SLOT_C,), (SLOT_O,), (SLOT_N, SLOT_O)])
def test_peptides_are_completed_in_their_plane(model, structure, slots):
    kept, true = only(structure, *slots), structure.atoms
    built = build(model, structure, kept, samples=2)
    assert (bond_deviations(structure, built, kept) <= 0.1).all()
    linked = torch.from_numpy(structure.linked)
    c, o, n = (built[:, 0, :, slot] for slot in (SLOT_C, SLOT_O, SLOT_N))
    c_alpha, following = built[:, 0, :, SLOT_CA], torch.roll(n, -1, dims=1)
    improper = torsion_angle(c_alpha, c, following, o).abs()[:, linked]
    assert torch.rad2deg((torch.pi - improper).abs()).max() < 35
    off = (built[:, 0, :, BACKBONE] - true[0, :, BACKBONE]).norm(dim=-1)[:, :-1]
    assert off.square().mean().sqrt() < 0.03


def test_torsions_that_given_atoms_determine_are_kept(model, structure):
    """Side chains cut behind CG: chi1 is the deposited one, chi2 is drawn."""
    kept = structure.present.copy()
    kept[:, 6 : SIDE_CHAIN.stop] = False
    built = build(model, structure, kept, samples=4)
    types = torch.from_numpy(structure.topology.residue_types)
    present = torch.from_numpy(structure.present)
    true, there = measure_chi(structure.atoms[0].nan_to_num(), present, types)
    all_there = torch.from_numpy(structure.topology.atom_mask)
    angles = torch.stack([measure_chi(sample, all_there, types)[0] for sample in built[:, 0]])
    assert torch.allclose(angles[:, there[:, 0], 0], true[there[:, 0], 0].expand(4, -1), atol=1e-4)
    assert angles[:, there[:, 1], 1].std(dim=0).max() > 0.5


def test_atoms_beyond_a_gap_are_reached(model, structure):
    """CG and what is behind it without CB, and the ends of side chains alone."""
    for cut in ([SLOT_CB], [SLOT_CB, 5], [5, 6], [SLOT_N, SLOT_CB], [SLOT_C, SLOT_CB, 5]):
        kept = structure.present.copy()
        kept[:, cut] = False
        built = build(model, structure, kept, samples=2)
        assert (bond_deviations(structure, built, kept) <= 0.1).mean() > 0.999, cut
        assert right_handed(structure, built).float().mean() > 0.99, cut


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_rotation_and_translation_turn_the_atoms(model, structure, share, random_rotation):
    kept, mask = at_random(structure, share), torch.from_numpy(structure.topology.atom_mask)
    move = torch.tensor([0.3, -0.2, 0.1])
    built = build(model, structure, kept)
    turned = build(model, structure, kept, structure.atoms @ random_rotation.T + move)
    error = (turned - (built @ random_rotation.T + move)).norm(dim=-1)[0, 0][mask]
    # Rounding may tip one draw at the very edge of a bin, not more.
    assert (error > 1e-3).float().mean() < 0.02


def test_batch_of_one_equals_batch_of_many(model, structure):
    structure = structure.start(60)
    kept = at_random(structure, 0.5)
    noise = torch.randn(3, *structure.atoms.shape[1:], generator=torch.Generator().manual_seed(2))
    frames = structure.atoms + 0.002 * noise
    together = build(model, structure, kept, frames, samples=2, seed=4)
    alone = torch.cat(
        [
            build(model, structure, kept, frames[i : i + 1], first_frame=i, samples=2, seed=4)
            for i in range(3)
        ],
        dim=1,
    )
    assert torch.allclose(together, alone, atol=1e-4)
    assert torch.equal(together, build(model, structure, kept, frames, samples=2, seed=4))
    assert not torch.equal(together, build(model, structure, kept, frames, samples=2, seed=5))


@pytest.mark.parametrize(
    "slots", [(SLOT_N,), (SLOT_C,), (SLOT_O,), (SLOT_CB,), (SLOT_N, SLOT_CB), (SLOT_OXT,)]
)
def test_a_lone_residue_is_built_around_what_it_has(model, structure, slots):
    last = structure.topology.n_residues - 1
    kept = only(structure, *slots)[last:]
    lone = Structure(
        Topology.from_sequences("A"), np.array([False]), kept, structure.atoms[:, last:].contiguous()
    )
    built = build(model, lone, kept, samples=8)
    assert torch.equal(built[:, :, kept], lone.atoms[:, kept].expand(8, -1, -1, -1))
    assert (bond_deviations(lone, built, kept) <= 0.1).all()
    assert right_handed(lone, built).all()


def test_what_no_residue_of_the_type_has_is_passed_over():
    topology = Topology.from_sequences("GA")
    chain = Chain.from_arrays(topology.residue_types, topology.chain_index, topology.linked(), "cpu")
    everything = Given(torch.full((1, 2, 15, 3), torch.nan), torch.ones(2, 15, dtype=torch.bool))
    mask = torch.from_numpy(ATOM_MASK)
    given = usable(everything, mask, chain)
    assert torch.equal(given.present.sum(dim=1), torch.tensor([3, 5]))
    assert torch.equal(standing_atoms(mask, chain).sum(dim=1), torch.tensor([4, 6]))


def test_settling_brings_moved_atoms_home_and_leaves_the_others(structure):
    """Atoms of ideal bonds, pushed aside, find back; those that are not to be moved do not move."""
    chain = Chain.from_arrays(
        structure.topology.residue_types, structure.topology.chain_index, structure.linked, "cpu"
    )
    present, generator = torch.from_numpy(structure.present), torch.Generator().manual_seed(0)
    moving = present & (torch.rand(present.shape, generator=generator) < 0.2)
    moving[:, SLOT_CA] = False
    atoms = structure.atoms[0].nan_to_num()
    springs = SpringFinder()(moving, present, chain)
    pushed = atoms + 0.03 * torch.randn(atoms.shape, generator=generator) * moving[..., None]
    settled = settle(pushed, springs)
    assert torch.equal(settled[~moving], atoms[~moving])
    assert strain(pushed, springs).median() > 0.08 > 0.03 > strain(settled, springs).max()
    assert (settled - atoms)[moving].norm(dim=-1).median() < 0.015


def test_crystal_structures_are_right_handed(structure):
    types = torch.from_numpy(structure.topology.residue_types)
    whole = torch.from_numpy((structure.present == structure.topology.atom_mask)[:, :SLOT_OXT].all(axis=1))
    atoms = structure.atoms[0].nan_to_num()
    side = whole & torch.from_numpy(structure.present[:, SLOT_CB])
    assert not wrong_hand(atoms, types)[side].any()
    assert wrong_hand(-atoms, types)[side].all()


def test_on_cuda_given_atoms_stay_too(model, structure, cuda):
    kept = at_random(structure, 0.5)
    engine = ProteinBuilder(load_model("protein", cuda), structure.topology, structure.linked, cuda, kept)
    c_alpha = structure.atoms[:, :, SLOT_CA]
    numbers = torch.zeros(1, dtype=torch.int64)
    built = engine.reconstruct(c_alpha, numbers=numbers, samples=2, seed=0, given=structure.atoms).cpu()
    assert torch.equal(built[:, :, kept], structure.atoms[:, kept].expand(2, -1, -1, -1))
    assert (bond_deviations(structure, built, kept) <= 0.1).mean() > 0.999
