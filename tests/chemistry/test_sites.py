"""Positions of a protein residue by residue: names, slots, leaders, and parts of them."""

import numpy as np
import pytest

from backmap.chemistry import ATOM_SLOTS, HEAVY_ATOMS, RESIDUE_NAMES, SLOT_CA, SLOT_OXT, Topology
from backmap.chemistry.residues import ONE_LETTER
from backmap.chemistry.sites import Sites, atom_names, slot_of
from tests.proteins import c_alpha_sites

TOPOLOGY = Topology.from_sequences("".join(ONE_LETTER[name] for name in RESIDUE_NAMES), "GA")


@pytest.fixture
def some() -> tuple[Sites, np.ndarray]:
    """About half of the atoms, with all C-alphas: sites and which are present."""
    present = TOPOLOGY.atom_mask & (np.random.default_rng(0).random(TOPOLOGY.atom_mask.shape) < 0.5)
    present[:, SLOT_CA] = True
    return Sites.of_atoms(TOPOLOGY, present), present


@pytest.mark.parametrize("residue", RESIDUE_NAMES)
def test_slots_and_names_agree(residue):
    names = atom_names(residue)
    assert len(names) == ATOM_SLOTS and names[SLOT_OXT] == "OXT"
    assert [slot_of(residue, name) for name in HEAVY_ATOMS[residue]] == list(range(len(HEAVY_ATOMS[residue])))
    assert all(slot_of(residue, name) == slot for slot, name in enumerate(names) if name)
    assert slot_of(residue, "HA") is None


def test_the_slot_of_an_atom_depends_on_the_residue():
    assert slot_of("GLY", "CB") is None
    assert slot_of("CYS", "SG") == slot_of("SER", "OG") == 5 and slot_of("SER", "SG") is None


def test_atoms_are_listed_residue_by_residue(some):
    sites, present = some
    assert sites.n_sites == len(sites.names) == present.sum()
    assert (np.diff(sites.residues) >= 0).all()
    np.testing.assert_array_equal(sites.residues, np.nonzero(present)[0])
    np.testing.assert_array_equal(sites.slots, np.nonzero(present)[1])
    np.testing.assert_array_equal(sites.present, present)


def test_leaders_are_the_c_alphas(some):
    sites, _ = some
    assert [sites.names[leader] for leader in sites.leaders] == ["CA"] * TOPOLOGY.n_residues
    np.testing.assert_array_equal(sites.residues[sites.leaders], np.arange(TOPOLOGY.n_residues))


def test_only_leaders_are_what_c_alphas_are(some):
    leaders, c_alphas = some[0].only_leaders, c_alpha_sites(TOPOLOGY)
    assert leaders.names == c_alphas.names == ("CA",) * TOPOLOGY.n_residues
    for found, expected in ((leaders.residues, c_alphas.residues), (leaders.leaders, c_alphas.leaders)):
        np.testing.assert_array_equal(found, np.arange(TOPOLOGY.n_residues))
        np.testing.assert_array_equal(found, expected)


def test_a_selection_keeps_names_and_leaders(some):
    sites, _ = some
    kept = np.union1d(sites.leaders, np.arange(0, sites.n_sites, 3))
    part = sites.select(kept)
    assert part.names == tuple(np.array(sites.names)[kept])
    np.testing.assert_array_equal(part.residues, sites.residues[kept])
    np.testing.assert_array_equal(kept[part.leaders], sites.leaders)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_slots_hold_the_positions_and_nothing_else(some, shape, dtype):
    sites, present = some
    positions = np.random.default_rng(1).normal(size=(*shape, sites.n_sites, 3)).astype(dtype)
    arranged = sites.in_slots(positions)
    assert arranged.shape == (*shape, TOPOLOGY.n_residues, ATOM_SLOTS, 3) and arranged.dtype == dtype
    np.testing.assert_array_equal(arranged[..., present, :], positions)
    assert np.isnan(arranged[..., ~present, :]).all()


def test_a_protein_without_residues_has_no_sites():
    empty = Topology.from_sequences("")
    sites = Sites.of_atoms(empty, empty.atom_mask)
    assert sites.n_sites == 0 and sites.in_slots(np.empty((2, 0, 3))).shape == (2, 0, ATOM_SLOTS, 3)
