"""Molecules as atoms and bonds, proteins as residues and torsions. Depends only on numpy."""

from backmap.chemistry.mapping import LinearMapping
from backmap.chemistry.molecule import Molecule
from backmap.chemistry.penalty_terms import penalty_terms
from backmap.chemistry.residues import (
    ATOM_MASK,
    ATOM_SLOTS,
    CHI_MASK,
    CHI_SLOTS,
    CHI_SYMMETRIC,
    CONTACT_RADII,
    HEAVY_ATOMS,
    NO_RESIDUE,
    RESIDUE_INDEX,
    RESIDUE_NAMES,
    SIDE_CHAIN,
    SLOT_C,
    SLOT_CA,
    SLOT_CB,
    SLOT_N,
    SLOT_O,
    SLOT_OXT,
    standard_atom_name,
    standard_residue_name,
)
from backmap.chemistry.topology import Cap, Topology

__all__ = [
    "ATOM_MASK",
    "ATOM_SLOTS",
    "CHI_MASK",
    "CHI_SLOTS",
    "CHI_SYMMETRIC",
    "CONTACT_RADII",
    "Cap",
    "HEAVY_ATOMS",
    "LinearMapping",
    "Molecule",
    "NO_RESIDUE",
    "RESIDUE_INDEX",
    "RESIDUE_NAMES",
    "SIDE_CHAIN",
    "SLOT_C",
    "SLOT_CA",
    "SLOT_CB",
    "SLOT_N",
    "SLOT_O",
    "SLOT_OXT",
    "Topology",
    "penalty_terms",
    "standard_atom_name",
    "standard_residue_name",
]
