import numpy as np
import pytest

from backmap.chemistry import (
    ATOM_MASK,
    CHI_MASK,
    CHI_SLOTS,
    HEAVY_ATOMS,
    RESIDUE_NAMES,
    standard_atom_name,
    standard_residue_name,
)
from backmap.chemistry.residues import AROMATIC_RINGS, BONDS, EQUIVALENT_ATOMS

HEAVY_ATOM_COUNT = dict(
    ALA=5, ARG=11, ASN=8, ASP=8, CYS=6, GLN=9, GLU=9, GLY=4, HIS=10, ILE=8,
    LEU=8, LYS=9, MET=8, PHE=11, PRO=7, SER=6, THR=7, TRP=14, TYR=12, VAL=7,
)  # fmt: skip
CHI_COUNT = dict(
    ALA=0, ARG=4, ASN=2, ASP=2, CYS=1, GLN=3, GLU=3, GLY=0, HIS=2, ILE=2,
    LEU=2, LYS=4, MET=3, PHE=2, PRO=2, SER=1, THR=1, TRP=2, TYR=2, VAL=1,
)  # fmt: skip
RINGS = dict(HIS=1, PHE=1, PRO=1, TRP=2, TYR=1)


@pytest.mark.parametrize("name", RESIDUE_NAMES)
def test_atoms_bonds_and_torsions(name):
    atoms, bonds = HEAVY_ATOMS[name], BONDS[name]
    assert len(atoms) == len(set(atoms)) == HEAVY_ATOM_COUNT[name]
    assert ATOM_MASK[RESIDUE_NAMES.index(name)].sum() == HEAVY_ATOM_COUNT[name]
    assert CHI_MASK[RESIDUE_NAMES.index(name)].sum() == CHI_COUNT[name]
    # A connected molecule has one bond fewer than atoms, and one more for each ring.
    assert len(bonds) == len(atoms) - 1 + RINGS.get(name, 0)
    reached = {"CA"}
    for _ in atoms:
        reached |= {atom for bond in bonds if set(bond) & reached for atom in bond}
    assert reached == set(atoms)


@pytest.mark.parametrize("name", RESIDUE_NAMES)
def test_torsions_follow_bonds(name):
    bonded = {frozenset(bond) for bond in BONDS[name]}
    for slots in CHI_SLOTS[RESIDUE_NAMES.index(name)]:
        if slots[0] >= 0:
            quadruple = [HEAVY_ATOMS[name][slot] for slot in slots]
            assert all(frozenset(pair) in bonded for pair in zip(quadruple, quadruple[1:], strict=False))


def test_rings_are_closed_and_equivalent_atoms_exist():
    for name, rings in AROMATIC_RINGS.items():
        bonded = {frozenset(bond) for bond in BONDS[name]}
        for ring in rings:
            assert all(frozenset(p) in bonded for p in zip(ring, ring[1:] + ring[:1], strict=True))
    for name, pairs in EQUIVALENT_ATOMS.items():
        assert {atom for pair in pairs for atom in pair} <= set(HEAVY_ATOMS[name])


@pytest.mark.parametrize(
    ("written", "standard"),
    [("HSD", "HIS"), ("HIE", "HIS"), ("CYX", "CYS"), ("MSE", "MET"), ("ASH", "ASP"), ("GLH", "GLU"),
     ("LYN", "LYS"), ("NALA", "ALA"), ("CHIE", "HIS"), ("gly ", "GLY"), ("SEP", None), ("POPC", None),
     ("NXYZ", None), ("", None)],
)  # fmt: skip
def test_residue_names(written, standard):
    assert standard_residue_name(written) == standard


def test_atom_names():
    assert standard_atom_name("MET", "SE") == "SD"
    assert standard_atom_name("ILE", "CD") == "CD1"
    assert standard_atom_name("LYS", "CD") == "CD"
    assert standard_atom_name("GLY", "OT2") == "OXT"


def test_masks_agree():
    assert np.array_equal(CHI_SLOTS.min(axis=-1) >= 0, CHI_MASK)
