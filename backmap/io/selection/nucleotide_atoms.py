"""Nucleotides among the residues of a file that have all their heavy atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backmap.chemistry.nucleic_topology import NucleicTopology
from backmap.chemistry.nucleotides import (
    NUCLEOTIDE_INDEX,
    NUCLEOTIDE_SLOTS,
    SLOT_O5,
    is_deoxy,
    nucleotide_atoms,
)
from backmap.errors import InputError

from .nucleic_selection import standard_nucleotide
from .other_molecules import is_nucleotide
from .records import ResidueRecord

_OTHER_NAMES = {"O1P": "OP1", "O2P": "OP2", "C5M": "C7"}


@dataclass(frozen=True, eq=False)
class NucleotideAtoms:
    """Nucleotides and where their atoms are in a frame.

    Parameters
    ----------
    topology : NucleicTopology
        The nucleotides.
    index : ndarray, (nucleotides, 23) int64
        Index of each atom in the coordinates of a frame; -1 if there is none.
    """

    topology: NucleicTopology
    index: np.ndarray

    def in_slots(self, coordinates: np.ndarray) -> np.ndarray:
        """Arrange sites (frames, sites, 3) as (frames, nucleotides, 23, 3), NaN where there is none."""
        atoms = np.asarray(coordinates[:, self.index.clip(0)], dtype=np.float64)
        atoms[:, self.index < 0] = np.nan
        return atoms


def find_nucleotide_atoms(residues: Sequence[ResidueRecord], file: str) -> NucleotideAtoms:
    """Find the nucleotides of a file.

    Raises
    ------
    InputError
        If there are none, or one lacks a heavy atom; 5' ends need no phosphate.
    """
    records = [residue for residue in residues if is_nucleotide(residue)]
    if not records:
        raise InputError(f"{file}: contains no nucleotides; give a file with the atoms of DNA or RNA")
    names, rows = [], []
    for number, record in enumerate(records):
        found = _places(record)
        name = standard_nucleotide(record.name, "O2'" not in found)
        if name is None or is_deoxy(name) == ("O2'" in found):
            raise InputError(
                f"{file}: {record.describe()} is none of A, C, G, U, DA, DC, DG and DT; remove it"
            )
        row = [found.get(atom, -1) if atom else -1 for atom in nucleotide_atoms(name)]
        begins = number == 0 or records[number - 1].chain != record.chain
        missing = [
            atom
            for slot, (atom, place) in enumerate(zip(nucleotide_atoms(name), row, strict=True))
            if atom and place < 0 and not (begins and slot < SLOT_O5)
        ]
        if missing:
            raise InputError(
                f"{file}: {record.describe()} has no atom {missing[0]}; complete the structure first"
            )
        names.append(name)
        rows.append(row)
    changes = [one.chain != other.chain for one, other in zip(records, records[1:], strict=False)]
    chain_index = np.cumsum([False, *changes]).astype(np.int64)
    first = np.unique(chain_index, return_index=True)[1]
    topology = NucleicTopology(
        np.array([NUCLEOTIDE_INDEX[name] for name in names], dtype=np.int64),
        chain_index,
        tuple(records[row].chain_id for row in first),
        np.array([record.number for record in records], dtype=np.int64),
        tuple(record.insertion_code for record in records),
        np.append(np.diff(chain_index) == 0, False),
    )
    return NucleotideAtoms(topology, np.array(rows, dtype=np.int64).reshape(-1, NUCLEOTIDE_SLOTS))


def _places(record: ResidueRecord) -> dict[str, int]:
    """Return the index of each atom by its standard name."""
    places: dict[str, int] = {}
    for atom in record.atoms:
        name = atom.name.strip().upper().replace("*", "'")
        places.setdefault(_OTHER_NAMES.get(name, name), atom.index)
    return places
