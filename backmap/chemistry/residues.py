"""The twenty amino acids: heavy atoms, covalent bonds and side-chain torsions (IUPAC names).

Every residue is stored in ``ATOM_SLOTS`` (15) slots: N, CA, C, O, then up to ten side-chain atoms in the
order of ``HEAVY_ATOMS``, and last the terminal oxygen OXT, which only the end of a chain has. Empty slots are
marked by a mask, never by coordinates of zero.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import numpy as np

HEAVY_ATOMS: dict[str, tuple[str, ...]] = {
    "ALA": ("N", "CA", "C", "O", "CB"),
    "ARG": ("N", "CA", "C", "O", "CB", "CG", "CD", "NE", "CZ", "NH1", "NH2"),
    "ASN": ("N", "CA", "C", "O", "CB", "CG", "OD1", "ND2"),
    "ASP": ("N", "CA", "C", "O", "CB", "CG", "OD1", "OD2"),
    "CYS": ("N", "CA", "C", "O", "CB", "SG"),
    "GLN": ("N", "CA", "C", "O", "CB", "CG", "CD", "OE1", "NE2"),
    "GLU": ("N", "CA", "C", "O", "CB", "CG", "CD", "OE1", "OE2"),
    "GLY": ("N", "CA", "C", "O"),
    "HIS": ("N", "CA", "C", "O", "CB", "CG", "ND1", "CD2", "CE1", "NE2"),
    "ILE": ("N", "CA", "C", "O", "CB", "CG1", "CG2", "CD1"),
    "LEU": ("N", "CA", "C", "O", "CB", "CG", "CD1", "CD2"),
    "LYS": ("N", "CA", "C", "O", "CB", "CG", "CD", "CE", "NZ"),
    "MET": ("N", "CA", "C", "O", "CB", "CG", "SD", "CE"),
    "PHE": ("N", "CA", "C", "O", "CB", "CG", "CD1", "CD2", "CE1", "CE2", "CZ"),
    "PRO": ("N", "CA", "C", "O", "CB", "CG", "CD"),
    "SER": ("N", "CA", "C", "O", "CB", "OG"),
    "THR": ("N", "CA", "C", "O", "CB", "OG1", "CG2"),
    "TRP": ("N", "CA", "C", "O", "CB", "CG", "CD1", "CD2", "NE1", "CE2", "CE3", "CZ2", "CZ3", "CH2"),
    "TYR": ("N", "CA", "C", "O", "CB", "CG", "CD1", "CD2", "CE1", "CE2", "CZ", "OH"),
    "VAL": ("N", "CA", "C", "O", "CB", "CG1", "CG2"),
}  # fmt: skip

RESIDUE_NAMES: tuple[str, ...] = tuple(HEAVY_ATOMS)
RESIDUE_INDEX: dict[str, int] = {name: index for index, name in enumerate(RESIDUE_NAMES)}
NO_RESIDUE = len(RESIDUE_NAMES)
"""Type of a residue that does not exist: before the start of a chain or after its end."""
ONE_LETTER: dict[str, str] = dict(zip(RESIDUE_NAMES, "ARNDCQEGHILKMFPSTWYV", strict=True))
THREE_LETTERS: dict[str, str] = {letter: name for name, letter in ONE_LETTER.items()}

ATOM_SLOTS = 15
SLOT_N, SLOT_CA, SLOT_C, SLOT_O, SLOT_CB = range(5)
SLOT_OXT = 14
SIDE_CHAIN = slice(SLOT_CB, SLOT_OXT)

_BACKBONE_BONDS = (("N", "CA"), ("CA", "C"), ("C", "O"))
_SIDE_CHAIN_BONDS: dict[str, str] = {
    "ALA": "CA-CB",
    "ARG": "CA-CB CB-CG CG-CD CD-NE NE-CZ CZ-NH1 CZ-NH2",
    "ASN": "CA-CB CB-CG CG-OD1 CG-ND2",
    "ASP": "CA-CB CB-CG CG-OD1 CG-OD2",
    "CYS": "CA-CB CB-SG",
    "GLN": "CA-CB CB-CG CG-CD CD-OE1 CD-NE2",
    "GLU": "CA-CB CB-CG CG-CD CD-OE1 CD-OE2",
    "GLY": "",
    "HIS": "CA-CB CB-CG CG-ND1 CG-CD2 ND1-CE1 CD2-NE2 CE1-NE2",
    "ILE": "CA-CB CB-CG1 CB-CG2 CG1-CD1",
    "LEU": "CA-CB CB-CG CG-CD1 CG-CD2",
    "LYS": "CA-CB CB-CG CG-CD CD-CE CE-NZ",
    "MET": "CA-CB CB-CG CG-SD SD-CE",
    "PHE": "CA-CB CB-CG CG-CD1 CG-CD2 CD1-CE1 CD2-CE2 CE1-CZ CE2-CZ",
    "PRO": "CA-CB CB-CG CG-CD CD-N",
    "SER": "CA-CB CB-OG",
    "THR": "CA-CB CB-OG1 CB-CG2",
    "TRP": "CA-CB CB-CG CG-CD1 CG-CD2 CD1-NE1 NE1-CE2 CD2-CE2 CD2-CE3 CE3-CZ3 CZ3-CH2 CH2-CZ2 CZ2-CE2",
    "TYR": "CA-CB CB-CG CG-CD1 CG-CD2 CD1-CE1 CD2-CE2 CE1-CZ CE2-CZ CZ-OH",
    "VAL": "CA-CB CB-CG1 CB-CG2",
}

BONDS: dict[str, tuple[tuple[str, str], ...]] = {
    name: _BACKBONE_BONDS + tuple(tuple(bond.split("-")) for bond in bonds.split())  # type: ignore[misc]
    for name, bonds in _SIDE_CHAIN_BONDS.items()
}
"""Covalent heavy-atom bonds within a residue; the peptide bond C(i)-N(i+1) joins residues."""


def _angle_ends(name: str) -> tuple[tuple[str, str], ...]:
    atoms = HEAVY_ATOMS[name]
    bonded = {atom: [other for bond in BONDS[name] if atom in bond for other in bond if other != atom]
              for atom in atoms}  # fmt: skip
    pairs = {
        (min(pair, key=atoms.index), max(pair, key=atoms.index))
        for near in bonded.values()
        for pair in combinations(near, 2)
    }
    return tuple(sorted(pairs, key=lambda pair: [atoms.index(atom) for atom in pair]))


ANGLE_ENDS: dict[str, tuple[tuple[str, str], ...]] = {name: _angle_ends(name) for name in RESIDUE_NAMES}
"""Outer atoms of the bond angles within a residue."""

_CHI_PATHS: dict[str, str] = {
    "ARG": "N CA CB CG CD NE CZ",
    "ASN": "N CA CB CG OD1",
    "ASP": "N CA CB CG OD1",
    "CYS": "N CA CB SG",
    "GLN": "N CA CB CG CD OE1",
    "GLU": "N CA CB CG CD OE1",
    "HIS": "N CA CB CG ND1",
    "ILE": "N CA CB CG1 CD1",
    "LEU": "N CA CB CG CD1",
    "LYS": "N CA CB CG CD CE NZ",
    "MET": "N CA CB CG SD CE",
    "PHE": "N CA CB CG CD1",
    "PRO": "N CA CB CG CD",
    "SER": "N CA CB OG",
    "THR": "N CA CB OG1",
    "TRP": "N CA CB CG CD1",
    "TYR": "N CA CB CG CD1",
    "VAL": "N CA CB CG1",
}

MAX_CHI = 4
CHI_ATOMS: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    name: tuple(
        tuple(path.split()[first : first + 4])  # type: ignore[misc]
        for first in range(len(path.split()) - 3)
    )
    for name, path in ((name, _CHI_PATHS.get(name, "")) for name in RESIDUE_NAMES)
}
"""The four atoms of every side-chain torsion chi1 ... chi4 (ARG chi5 is planar and not a torsion here)."""

SYMMETRIC_CHI: frozenset[tuple[str, int]] = frozenset({("ASP", 1), ("PHE", 1), ("TYR", 1), ("GLU", 2)})
"""(residue, chi index from 0) of torsions that are unchanged by half a turn."""

EQUIVALENT_ATOMS: dict[str, tuple[tuple[str, str], ...]] = {
    "ARG": (("NH1", "NH2"),),
    "ASP": (("OD1", "OD2"),),
    "GLU": (("OE1", "OE2"),),
    "PHE": (("CD1", "CD2"), ("CE1", "CE2")),
    "TYR": (("CD1", "CD2"), ("CE1", "CE2")),
}
"""Atoms that differ only in name: swapping them does not change the structure."""

AROMATIC_RINGS: dict[str, tuple[tuple[str, ...], ...]] = {
    "HIS": (("CG", "ND1", "CE1", "NE2", "CD2"),),
    "PHE": (("CG", "CD1", "CE1", "CZ", "CE2", "CD2"),),
    "PRO": (("N", "CA", "CB", "CG", "CD"),),
    "TRP": (("CG", "CD1", "NE1", "CE2", "CD2"), ("CD2", "CE2", "CZ2", "CH2", "CZ3", "CE3")),
    "TYR": (("CG", "CD1", "CE1", "CZ", "CE2", "CD2"),),
}
"""Rings that no bond may pass through; atoms in order around the ring."""

RESIDUE_SYNONYMS: dict[str, str] = {
    **{name: name for name in RESIDUE_NAMES},
    "MSE": "MET",
    **dict.fromkeys(
        ("HID", "HIE", "HIP", "HSD", "HSE", "HSP", "HISD", "HISE", "HISP", "HISH", "HISA", "HISB")
        + ("HIS1", "HIS2"),
        "HIS",
    ),
    **dict.fromkeys(("CYX", "CYM", "CYS1", "CYS2", "CYSH", "CYN"), "CYS"),
    **dict.fromkeys(("ASH", "ASPP", "ASPH"), "ASP"),
    **dict.fromkeys(("GLH", "GLUP", "GLUH"), "GLU"),
    **dict.fromkeys(("LYN", "LYP", "LSN", "LYSH", "LYSN"), "LYS"),
    **dict.fromkeys(("ARN", "ARGN"), "ARG"),
    "TYM": "TYR",
}
"""Standard names of residues by the names that programs write. See :func:`standard_residue_name`."""

AWSEM_NAMES: dict[str, tuple[str, ...]] = {
    "IGL": ("GLY",),
    "IPR": ("PRO",),
    "NGP": tuple(name for name in RESIDUE_NAMES if name not in ("GLY", "PRO")),
}
"""Residue names of AWSEM and the residues each may stand for."""

_SIRAH_CODES = THREE_LETTERS | {
    **dict.fromkeys(("HE", "HD", "HP"), "HIS"),
    **dict.fromkeys(("X", "Z", "CP"), "CYS"),
    **dict.fromkeys(("KM", "KA"), "LYS"),
    **{"DH": "ASP", "EH": "GLU", "NG": "ASN", "SP": "SEP", "TP": "TPO", "YP": "PTR"},
}
SIRAH_NAMES: dict[str, str] = {
    prefix + code: name for prefix in "SNCAM" for code, name in _SIRAH_CODES.items()
}
"""Names of residues by those of SIRAH in capitals: s for a residue in a chain, n, c, a and m for its ends."""

ATOM_SYNONYMS: dict[tuple[str, str], str] = {
    ("MET", "SE"): "SD",
    ("ILE", "CD"): "CD1",
    **{("*", name): "O" for name in ("OT1", "O1", "OC1")},
    **{("*", name): "OXT" for name in ("OT2", "O2", "OC2", "OT")},
}
"""IUPAC names by (residue or ``*``, atom name as written)."""


@lru_cache(maxsize=4096)
def standard_residue_name(name: str) -> str | None:
    """Return the standard three-letter name of a residue, or None if backmap cannot build it.

    Protonation states (HID, ASH, CYX ...), selenomethionine and AMBER's terminal names (NALA, CALA ...) map
    to the parent residue.
    """
    name = name.strip().upper()
    if name in RESIDUE_SYNONYMS:
        return RESIDUE_SYNONYMS[name]
    if len(name) == 4 and name[0] in "NC":
        return RESIDUE_SYNONYMS.get(name[1:])
    return None


@lru_cache(maxsize=4096)
def standard_atom_name(residue: str, atom: str) -> str:
    """Return the IUPAC name of an atom of a standard residue."""
    atom = atom.strip().upper()
    return ATOM_SYNONYMS.get((residue, atom), ATOM_SYNONYMS.get(("*", atom), atom))


def element(atom: str) -> str:
    """Return the element symbol of a protein heavy atom, given its name."""
    return atom[0]


def _atom_mask() -> np.ndarray:
    mask = np.zeros((len(RESIDUE_NAMES), ATOM_SLOTS), dtype=bool)
    for index, name in enumerate(RESIDUE_NAMES):
        mask[index, : len(HEAVY_ATOMS[name])] = True
    return mask


CONTACT_RADII_NM = {"C": 0.160, "N": 0.145, "O": 0.140, "S": 0.165, "P": 0.165, "Se": 0.170}
"""By element: atoms closer than the sum of their radii overlap; the radii allow for hydrogen bonds."""

UNITED_CARBON_RADII_NM = {"bare": 0.165, "aromatic": 0.170, "alpha": 0.170, "aliphatic": 0.175}
"""Radii of carbons together with their hydrogens: without any, in rings, CA, and all others."""

UNITED_SULFUR_RADIUS_NM = 0.175

CARBONYL_CARBONS = {"ASN": "CG", "ASP": "CG", "GLN": "CD", "GLU": "CD"}
"""Carbons of amides and carboxylates in side chains."""

AROMATIC_ATOMS = {
    name: frozenset(atom for ring in rings for atom in ring)
    for name, rings in AROMATIC_RINGS.items()
    if name != "PRO"
}
"""Atoms of aromatic rings."""

PLANAR_CARBONS = {
    **{name: frozenset(atom for atom in atoms if atom[0] == "C") for name, atoms in AROMATIC_ATOMS.items()},
    **{name: frozenset({atom}) for name, atom in CARBONYL_CARBONS.items()},
    "ARG": frozenset({"CZ"}),
}
"""Carbons of side chains with three neighbours, hydrogens included; all others have four."""


def _carbon_kind(residue: str, atom: str) -> str:
    if atom == "CA":
        return "alpha"
    if atom == "C":
        return "bare"
    if atom not in PLANAR_CARBONS.get(residue, ()):
        return "aliphatic"
    return "bare" if sum(atom in bond for bond in BONDS[residue]) == 3 else "aromatic"


def _united_radii() -> np.ndarray:
    radii = _contact_radii()
    for index, name in enumerate(RESIDUE_NAMES):
        for slot, atom in enumerate(HEAVY_ATOMS[name]):
            if element(atom) == "C":
                radii[index, slot] = UNITED_CARBON_RADII_NM[_carbon_kind(name, atom)]
            elif element(atom) == "S":
                radii[index, slot] = UNITED_SULFUR_RADIUS_NM
    return radii


def _contact_radii() -> np.ndarray:
    radii = np.zeros((len(RESIDUE_NAMES), ATOM_SLOTS))
    for index, name in enumerate(RESIDUE_NAMES):
        radii[index, : len(HEAVY_ATOMS[name])] = [CONTACT_RADII_NM[element(a)] for a in HEAVY_ATOMS[name]]
    radii[:, SLOT_OXT] = CONTACT_RADII_NM["O"]
    return radii


def _chi_slots() -> np.ndarray:
    slots = np.full((len(RESIDUE_NAMES), MAX_CHI, 4), -1, dtype=np.int64)
    for index, name in enumerate(RESIDUE_NAMES):
        for chi, atoms in enumerate(CHI_ATOMS[name]):
            slots[index, chi] = [HEAVY_ATOMS[name].index(atom) for atom in atoms]
    return slots


def _chi_symmetric() -> np.ndarray:
    symmetric = np.zeros((len(RESIDUE_NAMES), MAX_CHI), dtype=bool)
    for name, chi in SYMMETRIC_CHI:
        symmetric[RESIDUE_INDEX[name], chi] = True
    return symmetric


ATOM_MASK: np.ndarray = _atom_mask()
"""(20, 15) bool: the slots that a residue type fills within a chain (OXT belongs only to chain ends)."""

CONTACT_RADII: np.ndarray = _contact_radii()
"""(20, 15) nm: :data:`CONTACT_RADII_NM` of each atom."""

UNITED_RADII: np.ndarray = _united_radii()
"""(20, 15) nm: radii of heavy atoms together with their hydrogens, which touch long before heavy atoms do.

Oxygen and nitrogen keep :data:`CONTACT_RADII_NM`, which allow for hydrogen bonds."""

CHI_SLOTS: np.ndarray = _chi_slots()
"""(20, 4, 4) int64: slots of the four atoms of each torsion, -1 where the type has no such torsion."""

CHI_MASK: np.ndarray = CHI_SLOTS[:, :, 0] >= 0
"""(20, 4) bool: the torsions that a residue type has."""

CHI_SYMMETRIC: np.ndarray = _chi_symmetric()
"""(20, 4) bool: torsions with a period of half a turn."""
