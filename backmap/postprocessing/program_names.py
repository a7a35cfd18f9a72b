"""Names of residues and hydrogens by which programs know protonation states and disulfides."""

from __future__ import annotations

from dataclasses import replace

from backmap.io import AtomList
from backmap.io.atom_list import ListedResidue

PROGRAMS = ("openmm", "gromacs", "gromacs-charmm", "amber")
"""OpenMM reads the names of the Protein Data Bank, which the whole package uses."""

_OF_GROMACS = ("gromacs", "gromacs-charmm")

_STATES: dict[tuple[str, tuple[str, ...]], tuple[str, str, str]] = {
    ("HIS", ("HD1", "HE2")): ("HISH", "HISH", "HIP"),
    ("HIS", ("HD1",)): ("HISD", "HISD", "HID"),
    ("HIS", ("HE2",)): ("HISE", "HISE", "HIE"),
    ("ASP", ("HD2",)): ("ASH", "ASPP", "ASH"),
    ("GLU", ("HE2",)): ("GLH", "GLUP", "GLH"),
    ("LYS", ("HZ1", "HZ2")): ("LYN", "LSN", "LYN"),
    ("CYS", ()): ("CYM", "CYS", "CYM"),
}
"""Names of states of residues, by those of their telling hydrogens that they have: in GROMACS with AMBER and
with CHARMM force fields, and in AMBER. (pdb2gmx has names of its own, such as ASPH, but takes them for ASP.
The CHARMM force field of GROMACS has no CYM.)"""

_TELLING = {
    "HIS": ("HD1", "HE2"),
    "ASP": ("HD2",),
    "GLU": ("HE2",),
    "LYS": ("HZ1", "HZ2", "HZ3"),
    "CYS": ("HG",),
}
"""Hydrogens of a residue that tell its states apart."""


def named_for(atoms: AtomList, program: str) -> AtomList:
    """Rename the residues and hydrogens of a protein for the program that will simulate it.

    Parameters
    ----------
    atoms : AtomList
        All atoms, with hydrogens and disulfide bonds.
    program : {"openmm", "gromacs", "gromacs-charmm", "amber"}
        For GROMACS, residues that ``pdb2gmx`` knows (HISD, HISE, HISH, ASH, GLH, LYN, CYM; with a CHARMM
        force field ASPP, GLUP, LSN), H1 at the start of a chain, and hydrogens of CH2 numbered 1 and 2; with
        a CHARMM force field also HG1 in Ser and Cys. For AMBER, residues of ``tleap`` (HID, HIE, HIP, CYX,
        ASH, GLH, LYN, CYM), and H1 at the start of a chain.

    Returns
    -------
    AtomList
        The same atoms in the same order.
    """
    if program == "openmm":
        return atoms
    bridged, name_of_bridged = _bridged_cysteines(atoms), "CYX" if program == "amber" else "CYS"
    pairs = _paired_hydrogens(atoms) if program in _OF_GROMACS else set()
    residues, first = [], 0
    for index, residue in enumerate(atoms.residues):
        name = name_of_bridged if index in bridged else _state(residue, program)
        changed = {_first_hydrogen(residue, program): "H1"}
        if name == "LYN" and program == "amber":
            changed["HZ1"] = "HZ3"
        if program == "gromacs-charmm" and name in ("SER", "CYS"):
            changed["HG"] = "HG1"
        new_names = tuple(
            f"{old[:-1]}1" if first + place in pairs else changed.get(old, old)
            for place, old in enumerate(residue.atom_names)
        )
        residues.append(replace(residue, name=name, atom_names=new_names))
        first += len(residue.atom_names)
    return replace(atoms, residues=tuple(residues))


def _first_hydrogen(residue: ListedResidue, program: str) -> str | None:
    """Return the hydrogen of a charged chain start that becomes H1; that of proline has two, H2 and H3."""
    if "H2" not in residue.atom_names:
        return None
    if residue.name == "PRO":
        return "H3" if program in _OF_GROMACS else None
    return "H"


def _state(residue: ListedResidue, program: str) -> str:
    present = tuple(name for name in _TELLING.get(residue.name, ()) if name in residue.atom_names)
    names = _STATES.get((residue.name, present))
    return residue.name if names is None else names[PROGRAMS[1:].index(program)]


def _bridged_cysteines(atoms: AtomList) -> set[int]:
    """Return the cysteines in disulfide bonds."""
    place = [(row, name) for row, residue in enumerate(atoms.residues) for name in residue.atom_names]
    ends = [(place[first], place[second]) for first, second in atoms.bonds]
    bonds = [(one[0], other[0]) for one, other in ends if one[1] == other[1] == "SG"]
    return {row for bond in bonds for row in bond if atoms.residues[row].name == "CYS"}


def _paired_hydrogens(atoms: AtomList) -> set[int]:
    """Return the hydrogens numbered 3 of carbons with two hydrogens numbered 2 and 3."""
    names = [name for residue in atoms.residues for name in residue.atom_names]
    elements = [element for residue in atoms.residues for element in residue.elements]
    bonded: dict[int, list[int]] = {}
    for bond in atoms.bonds:
        for carbon, hydrogen in (bond, bond[::-1]):
            if elements[carbon] == "C" and elements[hydrogen] == "H":
                bonded.setdefault(carbon, []).append(hydrogen)
    of_two = [
        sorted(hydrogens, key=names.__getitem__) for hydrogens in bonded.values() if len(hydrogens) == 2
    ]
    return {second for first, second in of_two if (names[first][-1], names[second][-1]) == ("2", "3")}
