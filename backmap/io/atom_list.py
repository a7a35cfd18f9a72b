"""The atoms of an output, residue by residue: everything that a format needs to name them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import overload

import numpy as np

from backmap.chemistry import Molecule, Topology
from backmap.chemistry.nucleic_topology import NucleicTopology
from backmap.chemistry.nucleotides import nucleotide_atoms
from backmap.chemistry.residues import element
from backmap.chemistry.sites import atom_names

MOLECULE_CHAIN = "A"
"""A molecule is written as one chain with this name."""


@dataclass(frozen=True, slots=True)
class ListedResidue:
    """One residue of an output. ``chain`` is the index of its chain."""

    name: str
    chain: int
    number: int
    insertion_code: str
    atom_names: tuple[str, ...]
    elements: tuple[str, ...]


class Pairs(Sequence[tuple[int, int]]):
    """Pairs of atoms like tuples, but in one array, which takes a ninth of their memory.

    Parameters
    ----------
    array : ndarray, (pairs, 2) int64
        The pairs.
    """

    __slots__ = ("_array",)

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    @overload
    def __getitem__(self, index: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, index: slice) -> Pairs: ...
    def __getitem__(self, index: int | slice) -> tuple[int, int] | Pairs:
        if isinstance(index, slice):
            return Pairs(self._array[index])
        first, second = self._array[index].tolist()
        return first, second

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for begin in range(0, len(self), _PAIRS_AT_ONCE):
            yield from map(tuple, self._array[begin : begin + _PAIRS_AT_ONCE].tolist())

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._array, dtype=dtype)


_PAIRS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class AtomList:
    """Atoms in the order of writing. Two lists are equal only if they are the same object.

    Parameters
    ----------
    residues : tuple of ListedResidue
        Residues with their atoms.
    chain_ids : tuple of str
        Name of each chain.
    bonds : sequence of pairs of int
        Indices of bonded atoms in the list.
    """

    residues: tuple[ListedResidue, ...]
    chain_ids: tuple[str, ...]
    bonds: Sequence[tuple[int, int]]

    @classmethod
    def of_protein(cls, topology: Topology, present: np.ndarray) -> AtomList:
        """List the present atoms of a protein.

        Parameters
        ----------
        topology : Topology
            The residues.
        present : ndarray, (residues, 15) bool
            Atoms to list.
        """
        columns = (
            map(topology.residue_name, range(topology.n_residues)),
            topology.chain_index.tolist(),
            topology.residue_numbers.tolist(),
            topology.insertion_codes,
            map(tuple, present.tolist()),
        )
        residues = [
            ListedResidue(name, chain, number, code, *_present_atoms(name, slots))
            for name, chain, number, code, slots in zip(*columns, strict=True)
        ]
        number = np.where(present.ravel(), np.cumsum(present.ravel()) - 1, -1)
        bonds = number[topology.bonds()]
        bonds = bonds[(bonds >= 0).all(axis=1)]
        return cls(tuple(residues), topology.chain_ids, Pairs(bonds))

    @classmethod
    def of_molecule(cls, molecule: Molecule) -> AtomList:
        """List all atoms of a molecule."""
        residues = []
        places = zip(molecule.residue_numbers, molecule.residue_names, strict=True)
        for (number, name), group in groupby(enumerate(places), key=lambda entry: entry[1]):
            atoms = [atom for atom, _ in group]
            names, elements = (
                tuple(entries[atom] for atom in atoms) for entries in (molecule.atom_names, molecule.elements)
            )
            residues.append(ListedResidue(name, 0, number, "", names, elements))
        return cls(tuple(residues), (MOLECULE_CHAIN,), molecule.bonds)

    @classmethod
    def of_nucleic(cls, topology: NucleicTopology) -> AtomList:
        """List the heavy atoms of nucleic acids; 5' ends have no phosphate."""
        written = topology.written
        residues = []
        for nucleotide in range(topology.n_nucleotides):
            name = topology.name(nucleotide)
            slots = zip(nucleotide_atoms(name), written[nucleotide].tolist(), strict=True)
            names = tuple(atom for atom, exists in slots if exists)
            residues.append(
                ListedResidue(
                    name,
                    int(topology.chain_index[nucleotide]),
                    int(topology.numbers[nucleotide]),
                    topology.insertion_codes[nucleotide],
                    names,
                    tuple(atom[0] for atom in names),
                )
            )
        number = np.where(written.ravel(), np.cumsum(written.ravel()) - 1, -1)
        bonds = number[topology.bonds()[0]]
        bonds = bonds[(bonds >= 0).all(axis=1)]
        return cls(tuple(residues), topology.chain_ids, Pairs(bonds))

    def followed_by(self, other: AtomList) -> AtomList:
        """Return a list of these atoms and then those of another list, in further chains."""
        if not other.residues:
            return self
        n_chains = len(self.chain_ids)
        moved = tuple(replace(residue, chain=residue.chain + n_chains) for residue in other.residues)
        own, others = (np.array(bonds, dtype=np.int64).reshape(-1, 2) for bonds in (self.bonds, other.bonds))
        bonds = Pairs(np.concatenate([own, others + self.n_atoms]))
        return AtomList(self.residues + moved, self.chain_ids + other.chain_ids, bonds)

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return sum(len(residue.atom_names) for residue in self.residues)

    def describe(self, residue: int) -> str:
        """Name a residue for a message: ``chain A residue 27B LEU``."""
        listed = self.residues[residue]
        chain = self.chain_ids[listed.chain].strip()
        number = f"{listed.number}{listed.insertion_code.strip()}"
        return f"{f'chain {chain} ' if chain else ''}residue {number} {listed.name}"

    @property
    def closing_bonds(self) -> list[tuple[int, int]]:
        """Atoms C and N of the peptide bonds that close rings: those from a residue to an earlier one."""
        owner = self.owners
        ends = np.array(self.bonds, dtype=np.int64).reshape(-1, 2)
        begins = np.searchsorted(owner, np.arange(len(self.residues)))
        found = []
        for bond in ends[owner[ends[:, 0]] != owner[ends[:, 1]]].tolist():
            names = {self.residues[owner[atom]].atom_names[atom - begins[owner[atom]]]: atom for atom in bond}
            if names.keys() == {"C", "N"} and owner[names["N"]] < owner[names["C"]]:
                found.append((names["C"], names["N"]))
        return found

    @property
    def owners(self) -> np.ndarray:
        """The residue (atoms,) int64 of each atom."""
        return np.repeat(
            np.arange(len(self.residues)), [len(residue.atom_names) for residue in self.residues]
        )

    def ends_chain(self, residue: int) -> bool:
        """Return whether a residue is the last of its chain."""
        following = residue + 1
        return following == len(self.residues) or (
            self.residues[following].chain != self.residues[residue].chain
        )


@lru_cache(maxsize=4096)
def _present_atoms(residue_name: str, present: tuple[bool, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return names and elements of the present atoms of an amino acid; equal residues share them."""
    names = tuple(name for name, exists in zip(atom_names(residue_name), present, strict=True) if exists)
    return names, tuple(map(element, names))
