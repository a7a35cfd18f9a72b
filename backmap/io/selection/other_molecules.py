"""Molecules beside the protein: what they are, and those of them that are carried into the output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import gemmi
import numpy as np

from ..atom_list import ListedResidue
from .records import ResidueRecord

OthersKept = Literal["none", "nucleic-acids", "all"]
"""Which molecules beside the protein are read."""

OTHERS_KEPT: tuple[OthersKept, ...] = get_args(OthersKept)

_NUCLEOTIDES = frozenset(
    "A C G U T I DA DC DG DT DU DI ADE CYT GUA THY URA URI RA RC RG RU "
    "A3 A5 C3 C5 G3 G5 U3 U5 RA3 RA5 RC3 RC5 RG3 RG5 RU3 RU5 DA3 DA5 DC3 DC5 DG3 DG5 DT3 DT5 "
    "DAX DCX DGX DTX AX3 AX5 CX3 CX5 GX3 GX5 TX3 TX5 AW3 AW5 CW3 CW5 GW3 GW5 TW3 TW5".split()
)
_LIPIDS = frozenset(
    "POPC POPE POPG POPS POPA POPI PIP2 DPPC DPPE DPPG DPPS DOPC DOPE DOPG DOPS DLPC DLPE DLPG DMPC DMPE "
    "DMPG DSPC DSPE PSPC PSM SSM SAPI DPSM POSM CHOL CHL1 CHL ERG CDL1 CDL2 TOCL DPG1 DPG3 GM1 GM3 LPC SDS "
    "DPC DDM OCT DEC HEX PEG PEO PEOL PVP PEG2 XPC XPE XPS XPA XMY XOL CMM CPP CPO EPO SPO".split()
)
"""Lipids, detergents and polymers by their usual names in CHARMM, AMBER, Martini and SIRAH."""

_FULL_ATOMS = 12
"""A residue with this many sites has all its atoms; nucleotides have about twenty."""

_RADIUS_OF_ATOMS_NM, _RADIUS_OF_SMALL_BEADS_NM, _RADIUS_OF_BEADS_NM = 0.16, 0.21, 0.28
_FEW_BEADS = 3
_ELEMENTS = frozenset("CNOPSH")
NO_ELEMENT = "VS"
"""Element of beads: a virtual site."""


def is_nucleotide(residue: ResidueRecord) -> bool:
    """Return whether a residue is part of a nucleic acid, as atoms or beads."""
    name = residue.name.strip().upper()
    return name in _NUCLEOTIDES or gemmi.find_tabulated_residue(name).is_nucleic_acid()


def is_full(residue: ResidueRecord) -> bool:
    """Return whether a nucleotide has its atoms, not beads."""
    return len(residue.atoms) >= _FULL_ATOMS


def is_other(residue: ResidueRecord) -> bool:
    """Return whether a residue is a lipid, polymer, ligand or ion, which no protein contains."""
    name = residue.name.strip().upper()
    component = gemmi.find_tabulated_residue(name)
    return name in _LIPIDS or (component.found() and not component.is_amino_acid())


@dataclass(frozen=True, eq=False)
class OtherMolecules:
    """Molecules beside the protein that are carried into the output, in file order.

    Parameters
    ----------
    residues : tuple of ListedResidue
        Their residues; ``chain`` counts from 0 among them.
    chain_ids : tuple of str
        Name of each of their chains.
    index : ndarray, (sites,) int64
        Index of each site in the coordinates of a frame.
    radii_nm : ndarray, (sites,) float64
        Distance from each site that other atoms keep, in nm.
    """

    residues: tuple[ListedResidue, ...]
    chain_ids: tuple[str, ...]
    index: np.ndarray
    radii_nm: np.ndarray

    @classmethod
    def of(cls, records: Iterable[ResidueRecord]) -> OtherMolecules:
        """List residues of a file."""
        residues: list[ListedResidue] = []
        chain_ids: list[str] = []
        index: list[int] = []
        radii: list[float] = []
        chain = None
        for record in records:
            if record.chain != chain:
                chain = record.chain
                chain_ids.append(record.chain_id)
            atoms = [atom for atom in record.atoms if atom.alternate in ("", record.atoms[0].alternate)]
            full = len(atoms) >= _FULL_ATOMS
            elements = tuple(_element(atom.name) if full else NO_ELEMENT for atom in atoms)
            names = tuple(atom.name for atom in atoms)
            number = len(chain_ids) - 1, record.number, record.insertion_code
            residues.append(ListedResidue(record.name, *number, names, elements))
            index += [atom.index for atom in atoms]
            radii += [_radius(len(atoms))] * len(atoms)
        return cls(tuple(residues), tuple(chain_ids), np.array(index, dtype=np.int64), np.array(radii))

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return len(self.index)

    def describe(self, site: int) -> str:
        """Name the residue of a site for a message."""
        last = np.cumsum([len(residue.atom_names) for residue in self.residues])
        residue = self.residues[int(np.searchsorted(last, site, side="right"))]
        chain = self.chain_ids[residue.chain].strip()
        return f"{f'chain {chain} ' if chain else ''}residue {residue.number} {residue.name}"


NO_OTHERS = OtherMolecules((), (), np.empty(0, dtype=np.int64), np.empty(0))


def kept_others(passed_over: Sequence[ResidueRecord], kept: OthersKept) -> list[ResidueRecord]:
    """Return the residues beside the protein that are carried into the output."""
    if kept == "none":
        return []
    return [residue for residue in passed_over if kept == "all" or is_nucleotide(residue)]


def _element(name: str) -> str:
    """Return the element of an atom, given its name."""
    first = name.lstrip("0123456789'* ")[:1].upper()
    return first if first in _ELEMENTS else NO_ELEMENT


def _radius(n_sites: int) -> float:
    if n_sites >= _FULL_ATOMS:
        return _RADIUS_OF_ATOMS_NM
    return _RADIUS_OF_SMALL_BEADS_NM if n_sites > _FEW_BEADS else _RADIUS_OF_BEADS_NM
