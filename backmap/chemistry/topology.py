"""What a structure is made of, apart from coordinates: residues, chains and their bonds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from backmap.chemistry.residues import (
    ATOM_MASK,
    ATOM_SLOTS,
    BONDS,
    HEAVY_ATOMS,
    ONE_LETTER,
    RESIDUE_NAMES,
    SLOT_C,
    SLOT_N,
    SLOT_OXT,
)

MIN_LINKED_CA_DISTANCE_NM = 0.27
MAX_LINKED_CA_DISTANCE_NM = 0.41
"""Neighbours in sequence whose C-alphas lie outside this range are not bonded: a chain break."""

MAX_DISULFIDE_CA_DISTANCE_NM = 0.75
"""C-alphas of cysteines in a disulfide are not farther apart in crystal structures."""

MIN_DISULFIDE_DISTANCE_NM = 0.17
MAX_DISULFIDE_DISTANCE_NM = 0.25
"""Sulfurs at such distances are bonded. (Ideal is 0.203 nm; what stands in files is less accurate.)"""


def in_bonding_range(distance: np.ndarray, longest_nm: float = MAX_LINKED_CA_DISTANCE_NM) -> np.ndarray:
    """Say which distances in nm C-alphas of bonded neighbours may have."""
    return (distance > MIN_LINKED_CA_DISTANCE_NM) & (distance < longest_nm)


@dataclass(frozen=True)
class Topology:
    """Residues of a structure in chain order.

    Parameters
    ----------
    residue_types : ndarray, (residues,) int64
        Index into ``RESIDUE_NAMES``.
    chain_index : ndarray, (residues,) int64
        Which chain each residue belongs to, ascending from 0.
    chain_ids : tuple of str
        Name of each chain, as in the input.
    residue_numbers : ndarray, (residues,) int64
        Residue numbers, as in the input.
    insertion_codes : tuple of str
        One character each, empty where there is none.
    """

    residue_types: np.ndarray
    chain_index: np.ndarray
    chain_ids: tuple[str, ...]
    residue_numbers: np.ndarray
    insertion_codes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        count = len(self.residue_types)
        if not self.insertion_codes:
            object.__setattr__(self, "insertion_codes", ("",) * count)
        for name in ("chain_index", "residue_numbers", "insertion_codes"):
            if len(getattr(self, name)) != count:
                raise ValueError(f"{name} has {len(getattr(self, name))} entries for {count} residues")

    @classmethod
    def from_sequences(cls, *sequences: str) -> Topology:
        """Make a topology from one-letter sequences, one a chain, named A, B, C ... and numbered from 1."""
        letters = {letter: name for name, letter in ONE_LETTER.items()}
        names = [letters[letter] for sequence in sequences for letter in sequence]
        return cls(
            residue_types=np.array([RESIDUE_NAMES.index(name) for name in names], dtype=np.int64),
            chain_index=np.repeat(np.arange(len(sequences)), [len(s) for s in sequences]),
            chain_ids=tuple(chr(ord("A") + index) for index in range(len(sequences))),
            residue_numbers=np.concatenate([np.arange(1, len(s) + 1) for s in sequences]),
        )

    @property
    def residues(self) -> int:
        """Number of residues."""
        return len(self.residue_types)

    @property
    def atom_mask(self) -> np.ndarray:
        """(residues, 15) bool: slots that hold an atom, OXT at chain ends included."""
        mask = ATOM_MASK[self.residue_types]
        mask[self.chain_ends, SLOT_OXT] = True
        return mask

    @property
    def chain_ends(self) -> np.ndarray:
        """(residues,) bool: the last residue of each chain, where the terminal oxygen OXT belongs."""
        return np.append(self.chain_index[1:] != self.chain_index[:-1], True)[: self.residues]

    @property
    def interior(self) -> np.ndarray:
        """(residues,) bool: neither the first nor the last residue of its chain."""
        ends = self.chain_ends
        return ~(ends | np.append(True, ends[:-1])[: self.residues])

    def residue_name(self, residue: int) -> str:
        """Three-letter name of a residue."""
        return RESIDUE_NAMES[self.residue_types[residue]]

    def describe(self, residue: int) -> str:
        """Name a residue for a message: ``chain A residue 27B LEU``."""
        chain = self.chain_ids[self.chain_index[residue]].strip()
        number = f"{self.residue_numbers[residue]}{self.insertion_codes[residue].strip()}"
        return f"{f'chain {chain} ' if chain else ''}residue {number} {self.residue_name(residue)}"

    def linked(
        self, c_alpha: np.ndarray | None = None, longest_nm: float = MAX_LINKED_CA_DISTANCE_NM
    ) -> np.ndarray:
        """Find which residues are bonded to their successor.

        Parameters
        ----------
        c_alpha : ndarray, (..., residues, 3), optional
            C-alpha positions in nm. A pair whose median distance over the frames lies outside the bonding
            range is a chain break. Without positions only chain ends separate residues.
        longest_nm : float
            End of that range.

        Returns
        -------
        ndarray, (residues,) bool
            True where residue i is bonded to i + 1; the last entry is always False.
        """
        linked = ~self.chain_ends
        if c_alpha is not None and self.residues > 1:
            frames = np.asarray(c_alpha).reshape(-1, self.residues, 3)
            distance = np.median(np.linalg.norm(frames[:, 1:] - frames[:, :-1], axis=-1), axis=0)
            linked[:-1] &= in_bonding_range(distance, longest_nm)
        return linked

    def bonds(self, linked: np.ndarray | None = None) -> np.ndarray:
        """List covalent heavy-atom bonds as flat atom indices ``residue * 15 + slot``.

        Parameters
        ----------
        linked : ndarray, (residues,) bool, optional
            Which residues have a peptide bond to their successor; by default all within a chain.

        Returns
        -------
        ndarray, (bonds, 2) int64
            Bonds within residues in residue order, then C-OXT of chain ends, then peptide bonds C(i)-N(i+1).
        """
        linked = self.linked() if linked is None else linked
        within = [
            (residue * ATOM_SLOTS + atoms.index(first), residue * ATOM_SLOTS + atoms.index(second))
            for residue, kind in enumerate(self.residue_types)
            for name in (RESIDUE_NAMES[kind],)
            for atoms in (HEAVY_ATOMS[name],)
            for first, second in BONDS[name]
        ]
        ends = np.flatnonzero(self.chain_ends) * ATOM_SLOTS
        before = np.flatnonzero(linked) * ATOM_SLOTS
        terminal = np.stack([ends + SLOT_C, ends + SLOT_OXT], axis=1)
        peptide = np.stack([before + SLOT_C, before + ATOM_SLOTS + SLOT_N], axis=1)
        return np.concatenate([np.array(within, dtype=np.int64).reshape(-1, 2), terminal, peptide])
