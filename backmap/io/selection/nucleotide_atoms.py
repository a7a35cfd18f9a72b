"""Nucleotides among the residues of a file of atoms."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backmap.chemistry.nucleic_topology import NucleicTopology
from backmap.chemistry.nucleotides import (
    NUCLEOTIDE_SLOTS,
    SLOT_O5,
    SLOT_P,
    is_deoxy,
    nucleotide_atoms,
)
from backmap.errors import InputError, InputWarning

from .nucleic_selection import nucleic_topology, standard_nucleotide
from .other_molecules import is_nucleotide
from .records import ResidueRecord

_OTHER_NAMES = {"O1P": "OP1", "O2P": "OP2", "C5M": "C7"}
_SUGAR = frozenset({"C1'", "C3'", "O3'"})
"""Atoms of every nucleotide, also of modified ones."""


@dataclass(frozen=True, eq=False)
class NucleotideAtoms:
    """Nucleotides and where their atoms are in a frame.

    Parameters
    ----------
    topology : NucleicTopology
        The nucleotides.
    index : ndarray, (nucleotides, 23) int64
        Index of each atom in the coordinates of a frame; -1 for atoms that the file lacks.
    others : tuple of str
        Names of the residues that are not nucleotides.
    """

    topology: NucleicTopology
    index: np.ndarray
    others: tuple[str, ...]


def find_nucleotide_atoms(
    residues: Sequence[ResidueRecord], file: str, *, skip_unknown: bool = False
) -> NucleotideAtoms:
    """Find the nucleotides of a file.

    Parameters
    ----------
    residues : sequence of ResidueRecord
        All residues of one frame, in file order.
    file : str
        Name of the file, for messages.
    skip_unknown : bool
        Leave out other nucleotides than A, C, G, U, DA, DC, DG and DT with a warning.

    Raises
    ------
    InputError
        If there are no nucleotides, or one is not known, lacks a heavy atom or has one twice; only phosphates
        may be missing.
    """
    atoms = [(record, _places(record, file)) for record in residues]
    found = [entry for entry in atoms if is_nucleotide(entry[0]) or entry[1].keys() >= _SUGAR]
    nucleotides = {id(record) for record, _ in found}
    others = tuple(record.name for record in residues if id(record) not in nucleotides)
    named = [_standard_name(record, places) for record, places in found]
    unknown = [record for (record, _), name in zip(found, named, strict=True) if name is None]
    if unknown and not skip_unknown:
        raise InputError(
            f"{file}: {unknown[0].describe()} is none of A, C, G, U, DA, DC, DG and DT; remove it or give "
            "--skip-unknown to leave it out"
        )
    if unknown:
        counted = ", ".join(f"{number} {name}" for name, number in Counter(r.name for r in unknown).items())
        warnings.warn(
            f"{file}: left out {counted} because of --skip-unknown; the strands break there",
            InputWarning,
            stacklevel=2,
        )
    known = [(record, places, name) for (record, places), name in zip(found, named, strict=True) if name]
    if not known:
        raise InputError(f"{file}: contains no nucleotides; give a file with the atoms of DNA or RNA")
    index = np.array([_row(*entry, file) for entry in known], dtype=np.int64)
    topology = nucleic_topology([record for record, _, _ in known], [name for _, _, name in known])
    return NucleotideAtoms(topology, index.reshape(-1, NUCLEOTIDE_SLOTS), others)


def _standard_name(record: ResidueRecord, places: dict[str, int]) -> str | None:
    """Return the standard name of a nucleotide; None if it is modified."""
    name = standard_nucleotide(record.name, "O2'" not in places)
    return None if name is None or is_deoxy(name) == ("O2'" in places) else name


def _row(record: ResidueRecord, places: dict[str, int], name: str, file: str) -> list[int]:
    """Return the index (23,) of each atom of a nucleotide."""
    atoms = nucleotide_atoms(name)
    row = [places.get(atom, -1) if atom else -1 for atom in atoms]
    phosphate = range(SLOT_P, SLOT_O5)
    optional = phosphate if all(row[slot] < 0 for slot in phosphate) else ()
    for slot, atom in enumerate(atoms):
        if atom and row[slot] < 0 and slot not in optional:
            raise InputError(f"{file}: {record.describe()} has no atom {atom}; complete the structure first")
    return row


def _places(record: ResidueRecord, file: str) -> dict[str, int]:
    """Return the index of each atom by its standard name, at its first location."""
    places: dict[str, int] = {}
    located: dict[str, str] = {}
    for atom in record.atoms:
        name = atom.name.strip().upper().replace("*", "'")
        name = _OTHER_NAMES.get(name, name)
        if name in places and atom.alternate == located[name] and is_nucleotide(record):
            raise InputError(f"{file}: {record.describe()} has two atoms {name}; remove one of them")
        places.setdefault(name, atom.index)
        located.setdefault(name, atom.alternate)
    return places
