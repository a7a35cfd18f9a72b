"""The nucleotides of nucleic acids, their chains, bonds and distances, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backmap.chemistry.nucleotides import (
    LINK_NM,
    NUCLEOTIDE_NAMES,
    NUCLEOTIDE_SLOTS,
    SLOT_O3,
    SLOT_O5,
    SLOT_P,
    bonds_within,
    contact_radius,
    nucleotide_atoms,
    spans_of_link,
    spans_within,
)


@dataclass(frozen=True, eq=False)
class NucleicTopology:
    """The nucleotides of one or more chains, from 5' to 3'.

    Parameters
    ----------
    types : ndarray, (nucleotides,) int64
        Index into ``NUCLEOTIDE_NAMES``.
    chain_index : ndarray, (nucleotides,) int64
        Chain of each nucleotide, ascending from 0.
    chain_ids : tuple of str
        Name of each chain.
    numbers : ndarray, (nucleotides,) int64
        Number of each nucleotide in its chain.
    insertion_codes : tuple of str
        Insertion code of each nucleotide.
    linked : ndarray, (nucleotides,) bool
        Which nucleotides are bonded to the next one.
    """

    types: np.ndarray
    chain_index: np.ndarray
    chain_ids: tuple[str, ...]
    numbers: np.ndarray
    insertion_codes: tuple[str, ...]
    linked: np.ndarray

    @property
    def n_nucleotides(self) -> int:
        """Number of nucleotides."""
        return len(self.types)

    def name(self, nucleotide: int) -> str:
        """Return the standard name of a nucleotide."""
        return NUCLEOTIDE_NAMES[self.types[nucleotide]]

    def describe(self, nucleotide: int) -> str:
        """Name a nucleotide for a message: ``chain B residue 2 DC``."""
        chain = self.chain_ids[self.chain_index[nucleotide]].strip()
        number = f"{self.numbers[nucleotide]}{self.insertion_codes[nucleotide].strip()}"
        return f"{f'chain {chain} ' if chain else ''}residue {number} {self.name(nucleotide)}"

    @property
    def starts(self) -> np.ndarray:
        """(nucleotides,) bool: nucleotides at a 5' end."""
        return np.concatenate([[True], ~self.linked[:-1]]) if len(self.types) else np.zeros(0, dtype=bool)

    @property
    def atom_mask(self) -> np.ndarray:
        """(nucleotides, 23) bool: heavy atoms, with a phosphate at every nucleotide."""
        kinds = np.array([[bool(atom) for atom in nucleotide_atoms(name)] for name in NUCLEOTIDE_NAMES])
        return kinds[self.types]

    @property
    def written(self) -> np.ndarray:
        """(nucleotides, 23) bool: heavy atoms of the molecules, whose 5' ends have no phosphate."""
        mask = self.atom_mask
        mask[self.starts, SLOT_P:SLOT_O5] = False
        return mask

    @property
    def radii(self) -> np.ndarray:
        """(nucleotides, 23) float64: radius of each atom in nm, 0 in unused slots."""
        kinds = np.array(
            [
                [contact_radius(atom) if atom else 0.0 for atom in nucleotide_atoms(name)]
                for name in NUCLEOTIDE_NAMES
            ]
        )
        return kinds[self.types]

    def bonds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return bonded atoms (bonds, 2) int64 as flat indices, and the lengths (bonds,) in nm."""
        return self._pairs([bonds_within(name) for name in NUCLEOTIDE_NAMES], ((SLOT_O3, SLOT_P, LINK_NM),))

    def spans(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends (spans, 2) int64 of fixed distances as flat indices, and the distances in nm."""
        return self._pairs([spans_within(name) for name in NUCLEOTIDE_NAMES], spans_of_link())

    def _pairs(
        self,
        within: list[tuple[tuple[int, int, float], ...]],
        across: tuple[tuple[int, int, float], ...],
    ) -> tuple[np.ndarray, np.ndarray]:
        ends, lengths = [np.empty((0, 2), dtype=np.int64)], [np.empty(0)]
        groups = [(np.flatnonzero(self.types == kind), table) for kind, table in enumerate(within)]
        for rows, table in groups:
            for first, second, length in table:
                ends.append(rows[:, None] * NUCLEOTIDE_SLOTS + np.array([first, second]))
                lengths.append(np.full(len(rows), length))
        rows = np.flatnonzero(self.linked)
        for first, second, length in across:
            ends.append(rows[:, None] * NUCLEOTIDE_SLOTS + np.array([first, NUCLEOTIDE_SLOTS + second]))
            lengths.append(np.full(len(rows), length))
        pairs, distances = np.concatenate(ends), np.concatenate(lengths)
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        return pairs[order], distances[order]
