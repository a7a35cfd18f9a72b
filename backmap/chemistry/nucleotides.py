"""Nucleotides of DNA and RNA: names, heavy atoms, bonds and the ideal geometry of bases.

Atoms have 23 slots per nucleotide: twelve of phosphate and sugar, then those of the base.

Coordinates of bases are those of the standard reference frame (Olson et al., J. Mol. Biol. 2001, 313, 229),
which follow Clowney et al., J. Am. Chem. Soc. 1996, 118, 509: the base lies in the plane z = 0, and strands
run along +z. Bond lengths and angles of sugars and phosphates are those of Gelbin et al., J. Am. Chem. Soc.
1996, 118, 519, and Parkinson et al., Acta Cryst. D 1996, 52, 57, averaged over sugar puckers.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

BACKBONE_ATOMS = ("P", "OP1", "OP2", "O5'", "C5'", "C4'", "O4'", "C3'", "O3'", "C2'", "O2'", "C1'")
"""Phosphate and sugar; deoxyribose has no O2'."""

N_BACKBONE_SLOTS = len(BACKBONE_ATOMS)
NUCLEOTIDE_SLOTS = 23
(
    SLOT_P,
    SLOT_OP1,
    SLOT_OP2,
    SLOT_O5,
    SLOT_C5,
    SLOT_C4,
    SLOT_O4,
    SLOT_C3,
    SLOT_O3,
    SLOT_C2,
    SLOT_O2,
    SLOT_C1,
) = range(N_BACKBONE_SLOTS)
SLOT_GLYCOSIDIC = N_BACKBONE_SLOTS
"""The nitrogen of the base that is bonded to C1': N9 of purines, N1 of pyrimidines."""

_BASES_ANGSTROM = {
    "A": "N9 -1.291 4.498, C8 0.024 4.897, N7 0.877 3.902, C5 0.071 2.771, C6 0.369 1.398, N6 1.611 0.909, "
    "N1 -0.668 0.532, C2 -1.912 1.023, N3 -2.320 2.290, C4 -1.267 3.124",
    "C": "N1 -1.285 4.542, C2 -1.472 3.158, O2 -2.628 2.709, N3 -0.391 2.344, C4 0.837 2.868, "
    "N4 1.875 2.027, C5 1.056 4.275, C6 -0.023 5.068",
    "G": "N9 -1.289 4.551, C8 0.023 4.962, N7 0.870 3.969, C5 0.071 2.833, C6 0.424 1.460, O6 1.554 0.955, "
    "N1 -0.700 0.641, C2 -1.999 1.087, N2 -2.949 0.139, N3 -2.342 2.364, C4 -1.265 3.177",
    "T": "N1 -1.284 4.500, C2 -1.462 3.135, O2 -2.562 2.608, N3 -0.298 2.407, C4 0.994 2.897, "
    "O4 1.944 2.119, C5 1.106 4.338, C7 2.466 4.961, C6 -0.024 5.057",
    "U": "N1 -1.284 4.500, C2 -1.462 3.131, O2 -2.563 2.608, N3 -0.302 2.397, C4 0.989 2.884, "
    "O4 1.935 2.094, C5 1.089 4.311, C6 -0.024 5.053",
}
_C1_ANGSTROM = {
    "A": (-2.479, 5.346),
    "C": (-2.477, 5.402),
    "G": (-2.477, 5.399),
    "T": (-2.481, 5.354),
    "U": (-2.481, 5.354),
}
_PURINE_BONDS = "N9-C8 C8-N7 N7-C5 C5-C6 C6-N1 N1-C2 C2-N3 N3-C4 C4-C5 C4-N9"
_PYRIMIDINE_BONDS = "N1-C2 C2-O2 C2-N3 N3-C4 C4-C5 C5-C6 C6-N1"
_BASE_BONDS = {
    "A": _PURINE_BONDS + " C6-N6",
    "C": _PYRIMIDINE_BONDS + " C4-N4",
    "G": _PURINE_BONDS + " C6-O6 C2-N2",
    "T": _PYRIMIDINE_BONDS + " C4-O4 C5-C7",
    "U": _PYRIMIDINE_BONDS + " C4-O4",
}
PURINES = frozenset("AG")
_A_AND_T = (("N6", "O4", 0.295), ("N1", "N3", 0.285))
HYDROGEN_BONDS: Mapping[tuple[str, str], tuple[tuple[str, str, float], ...]] = {
    ("A", "T"): _A_AND_T,
    ("A", "U"): _A_AND_T,
    ("G", "C"): (("O6", "N4", 0.286), ("N1", "N3", 0.290), ("N2", "O2", 0.284)),
    ("G", "U"): (("O6", "N3", 0.285), ("N1", "O2", 0.285)),
    ("G", "T"): (("O6", "N3", 0.285), ("N1", "O2", 0.285)),
}
"""Bases that pair, with the atoms and lengths of their hydrogen bonds in nm: Watson and Crick's (Saenger,
Principles of Nucleic Acid Structure, 1984), and the wobble of G and U or T."""

NUCLEOTIDE_NAMES = ("DA", "DC", "DG", "DT", "A", "C", "G", "U")
NUCLEOTIDE_INDEX: Mapping[str, int] = {name: index for index, name in enumerate(NUCLEOTIDE_NAMES)}


def base_letter(name: str) -> str:
    """Return the letter of the base of a nucleotide, given its standard name."""
    return name[-1]


def is_deoxy(name: str) -> bool:
    """Return whether a nucleotide, given its standard name, is one of DNA."""
    return name.startswith("D")


@functools.cache
def nucleotide_atoms(name: str) -> tuple[str, ...]:
    """Return the names of the heavy atoms of a nucleotide by slot; unused slots have an empty name."""
    base = [entry.split()[0] for entry in _BASES_ANGSTROM[base_letter(name)].split(", ")]
    backbone = ["" if atom == "O2'" and is_deoxy(name) else atom for atom in BACKBONE_ATOMS]
    return (*backbone, *base, *[""] * (NUCLEOTIDE_SLOTS - N_BACKBONE_SLOTS - len(base)))


@functools.cache
def base_frame(letter: str) -> np.ndarray:
    """Return ideal C1' and base atoms (1 + atoms, 3) in nm, in the standard reference frame."""
    flat = [_C1_ANGSTROM[letter]]
    for entry in _BASES_ANGSTROM[letter].split(", "):
        _, x, y = entry.split()
        flat.append((float(x), float(y)))
    return np.array([(0.1 * x, 0.1 * y, 0.0) for x, y in flat])


_SUGAR_BONDS_ANGSTROM = {
    "P-OP1": 1.485,
    "P-OP2": 1.485,
    "P-O5'": 1.593,
    "O5'-C5'": 1.440,
    "C5'-C4'": 1.511,
    "C4'-O4'": 1.450,
    "C4'-C3'": 1.525,
    "C3'-O3'": 1.427,
    "C3'-C2'": 1.522,
    "C2'-C1'": 1.525,
    "C2'-O2'": 1.413,
    "C1'-O4'": 1.416,
    "O3'-P+": 1.607,
}
_SUGAR_ANGLES_DEGREES = {
    "OP1-P-OP2": 119.6,
    "O5'-P-OP1": 108.1,
    "O5'-P-OP2": 108.1,
    "P-O5'-C5'": 120.9,
    "O5'-C5'-C4'": 110.9,
    "C5'-C4'-C3'": 115.2,
    "C5'-C4'-O4'": 109.4,
    "C3'-C4'-O4'": 105.5,
    "C4'-C3'-O3'": 110.3,
    "C4'-C3'-C2'": 102.9,
    "C2'-C3'-O3'": 110.8,
    "C3'-C2'-C1'": 102.1,
    "C3'-C2'-O2'": 113.3,
    "C1'-C2'-O2'": 110.6,
    "C2'-C1'-O4'": 106.5,
    "C1'-O4'-C4'": 109.9,
    "C3'-O3'-P+": 119.7,
    "O3'-P+-O5'+": 104.0,
    "O3'-P+-OP1+": 107.8,
    "O3'-P+-OP2+": 107.8,
}
"""The plus sign marks atoms of the next nucleotide."""

_O4_GLYCOSIDIC_NM, _C2_GLYCOSIDIC_NM = 0.2353, 0.2524
"""Distances across the angles at C1' to the glycosidic nitrogen, 108.2 and 113.6 degrees."""

_PHOSPHORUS_RADIUS_NM, _CARBON_RADIUS_NM, _POLAR_RADIUS_NM = 0.17, 0.16, 0.14
"""About half the shortest distance of atoms that are not bonded; hydrogen bonds join N and O."""


@functools.cache
def bonds_within(name: str) -> tuple[tuple[int, int, float], ...]:
    """Return the bonds of a nucleotide: two slots, and the length in nm."""
    atoms, letter = nucleotide_atoms(name), base_letter(name)
    found = []
    for bond, length in _SUGAR_BONDS_ANGSTROM.items():
        first, second = bond.split("-")
        if first in atoms and second in atoms:
            found.append((atoms.index(first), atoms.index(second), 0.1 * length))
    ideal = base_frame(letter)
    for bond in ["C1'-" + atoms[SLOT_GLYCOSIDIC], *_BASE_BONDS[letter].split()]:
        slots = [atoms.index(atom, SLOT_C1) for atom in bond.split("-")]
        first, second = (ideal[slot - SLOT_C1] for slot in slots)
        found.append((slots[0], slots[1], float(np.linalg.norm(second - first))))
    return tuple(found)


@functools.cache
def spans_within(name: str) -> tuple[tuple[int, int, float], ...]:
    """Return distances that bond angles and the rigid base fix: two slots, and the distance in nm.

    Between all atoms of C1' and base that are not bonded to each other, and the outer atoms of sugar angles.
    """
    atoms = nucleotide_atoms(name)
    bonded = {frozenset(bond[:2]) for bond in bonds_within(name)}
    found = []
    for angle in _SUGAR_ANGLES_DEGREES:
        ends = angle.split("-")
        if all(atom in atoms for atom in ends):
            found.append((atoms.index(ends[0]), atoms.index(ends[2]), _span(angle)))
    found.append((SLOT_O4, SLOT_GLYCOSIDIC, _O4_GLYCOSIDIC_NM))
    found.append((SLOT_C2, SLOT_GLYCOSIDIC, _C2_GLYCOSIDIC_NM))
    ideal = base_frame(base_letter(name))
    for first in range(len(ideal)):
        for second in range(first + 1, len(ideal)):
            if frozenset((SLOT_C1 + first, SLOT_C1 + second)) not in bonded:
                distance = float(np.linalg.norm(ideal[second] - ideal[first]))
                found.append((SLOT_C1 + first, SLOT_C1 + second, distance))
    return tuple(found)


LINK_NM = 0.1 * _SUGAR_BONDS_ANGSTROM["O3'-P+"]
"""Length of the bond from O3' to P of the next nucleotide."""


@functools.cache
def spans_of_link() -> tuple[tuple[int, int, float], ...]:
    """Return distances across the angles of the bond between nucleotides, in nm.

    A slot of the first nucleotide, one of the next, and the distance.
    """
    found = []
    for angle in _SUGAR_ANGLES_DEGREES:
        ends = angle.split("-")
        if ends[2].endswith("+"):
            first, second = (BACKBONE_ATOMS.index(atom.rstrip("+")) for atom in (ends[0], ends[2]))
            found.append((first, second, _span(angle)))
    return tuple(found)


def _span(angle: str) -> float:
    """Return the distance in nm of the outer atoms of an angle of the sugar or phosphate."""
    first, centre, last = angle.split("-")
    lengths = [_bond_length(first, centre), _bond_length(centre, last)]
    cosine = np.cos(np.radians(_SUGAR_ANGLES_DEGREES[angle]))
    return 0.1 * float(np.sqrt(lengths[0] ** 2 + lengths[1] ** 2 - 2 * lengths[0] * lengths[1] * cosine))


def _bond_length(first: str, second: str) -> float:
    if first.endswith("+") and second.endswith("+"):
        first, second = first[:-1], second[:-1]
    known = _SUGAR_BONDS_ANGSTROM
    length = known.get(f"{first}-{second}", known.get(f"{second}-{first}"))
    assert length is not None
    return length


def contact_radius(atom: str) -> float:
    """Return the radius of a heavy atom in nm, given its name."""
    if atom == "P":
        return _PHOSPHORUS_RADIUS_NM
    return _CARBON_RADIUS_NM if atom.startswith("C") else _POLAR_RADIUS_NM
