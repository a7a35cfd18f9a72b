"""Classes of heavy atoms that attract and repel others alike, for statistical potentials."""

from __future__ import annotations

import numpy as np

from backmap.chemistry.residues import (
    AROMATIC_ATOMS,
    ATOM_SLOTS,
    CARBONYL_CARBONS,
    HEAVY_ATOMS,
    RESIDUE_NAMES,
    SLOT_OXT,
)

CLASS_NAMES = (
    "N",
    "CA",
    "C",
    "O",
    "CB",
    "methyl",
    "methylene",
    "methine",
    "aromatic carbon",
    "carbonyl carbon",
    "guanidinium carbon",
    "amide nitrogen",
    "lysine nitrogen",
    "guanidinium nitrogen",
    "ring nitrogen",
    "amide oxygen",
    "carboxylate oxygen",
    "hydroxyl oxygen",
    "thioether sulfur",
    "thiol sulfur",
)

N_CONTACT_CLASSES = len(CLASS_NAMES)

_METHYLS = {
    "ALA": {"CB"},
    "ILE": {"CG2", "CD1"},
    "LEU": {"CD1", "CD2"},
    "MET": {"CE"},
    "THR": {"CG2"},
    "VAL": {"CG1", "CG2"},
}

_OTHERS = {
    "amide nitrogen": {("ASN", "ND2"), ("GLN", "NE2")},
    "lysine nitrogen": {("LYS", "NZ")},
    "guanidinium nitrogen": {("ARG", "NE"), ("ARG", "NH1"), ("ARG", "NH2")},
    "ring nitrogen": {("HIS", "ND1"), ("HIS", "NE2"), ("TRP", "NE1")},
    "amide oxygen": {("ASN", "OD1"), ("GLN", "OE1")},
    "carboxylate oxygen": {("ASP", "OD1"), ("ASP", "OD2"), ("GLU", "OE1"), ("GLU", "OE2")},
    "hydroxyl oxygen": {("SER", "OG"), ("THR", "OG1"), ("TYR", "OH")},
    "thioether sulfur": {("MET", "SD")},
    "thiol sulfur": {("CYS", "SG")},
    "guanidinium carbon": {("ARG", "CZ")},
    "methine": {("LEU", "CG")},
}
_CLASS_OF_OTHERS = {atom: name for name, atoms in _OTHERS.items() for atom in atoms}


def _class_name(residue: str, atom: str) -> str:
    if atom in ("N", "CA", "C", "O"):
        return atom
    if atom in _METHYLS.get(residue, ()):
        return "methyl"
    if (residue, atom) in _CLASS_OF_OTHERS:
        return _CLASS_OF_OTHERS[residue, atom]
    if atom == "CB":
        return "CB"
    if atom in AROMATIC_ATOMS.get(residue, ()):
        return "aromatic carbon"
    return "carbonyl carbon" if CARBONYL_CARBONS.get(residue) == atom else "methylene"


def _contact_classes() -> np.ndarray:
    classes = np.full((len(RESIDUE_NAMES), ATOM_SLOTS), -1, dtype=np.int64)
    for index, residue in enumerate(RESIDUE_NAMES):
        names = [_class_name(residue, atom) for atom in HEAVY_ATOMS[residue]]
        classes[index, : len(names)] = [CLASS_NAMES.index(name) for name in names]
    classes[:, SLOT_OXT] = CLASS_NAMES.index("carboxylate oxygen")
    return classes


CONTACT_CLASSES: np.ndarray = _contact_classes()
"""(20, 15) int64: class of the atom in each slot, an index into :data:`CLASS_NAMES`; -1 in empty slots."""
