"""The composition of a structure, without coordinates: residues, chains and bonds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from backmap.chemistry.residues import (
    ATOM_MASK,
    ATOM_SLOTS,
    BONDS,
    HEAVY_ATOMS,
    RESIDUE_NAMES,
    SLOT_C,
    SLOT_N,
    SLOT_OXT,
    THREE_LETTERS,
)

MIN_LINKED_CA_DISTANCE_NM = 0.20
MAX_LINKED_CA_DISTANCE_NM = 0.52
"""Range of distances between C-alphas of bonded neighbours. Crystals have 0.38 nm, or 0.29 nm across a cis
bond; even the soft bonds of coarse-grained models (0.38 +- 0.0174 nm) stay within it."""

TORN_BOND_NM = 0.8
"""A bond about twice as long as it should be is torn: the frame is damaged, or the simulation exploded."""

SHORTEST_RING = 4
"""Residues of the shortest cyclic peptide that can be built."""

MAX_LINKED_ACROSS_GAP_NM = (0.41, 0.47)
"""Upper limits of the range where residue numbers leave room for a residue in between: for bonds as stiff as
in crystals, and for soft ones. C-alphas with a residue between them are rarely that close."""

_BOND_NM = 0.38
_SPREADS = 5
_ENOUGH_BONDS = 10
_SPREAD_PER_MEDIAN_DEVIATION = 1.4826
_NUMBERS_WRAP_AT = (10_000, 100_000)
"""Residue numbers of PDB and GRO files restart at 0 here, as they run out of columns."""

_BONDED_SLOTS = np.full((len(RESIDUE_NAMES), max(map(len, BONDS.values())), 2), -1, dtype=np.int64)
"""Slots of the atoms joined by each bond of a residue type, padded with -1."""
for _kind, _name in enumerate(RESIDUE_NAMES):
    for _bond, _ends in enumerate(BONDS[_name]):
        _BONDED_SLOTS[_kind, _bond] = [HEAVY_ATOMS[_name].index(_end) for _end in _ends]

MAX_DISULFIDE_CA_DISTANCE_NM = 0.75
"""C-alphas of cysteines in a disulfide are no farther apart than this in crystal structures."""

MIN_DISULFIDE_DISTANCE_NM = 0.17
MAX_DISULFIDE_DISTANCE_NM = 0.25
"""Sulfurs within this range are bonded. (The ideal is 0.203 nm; coordinates in files are less accurate.)"""


def can_be_bonded(distance: np.ndarray, steps: np.ndarray, reach_nm: float = 0.0) -> np.ndarray:
    """Return which neighbours in sequence can be bonded.

    Parameters
    ----------
    distance : ndarray, (pairs,)
        Distances between their C-alphas in nm.
    steps : ndarray, (pairs,) int64
        Differences of their residue numbers, from :func:`number_steps`.
    reach_nm : float
        How much farther apart than C-alphas the positions may be, in nm, if they are other beads. These are
        bonded only without a gap in the numbers.
    """
    if reach_nm > 0:
        return (steps == 1) & (distance < MAX_LINKED_CA_DISTANCE_NM + reach_nm)
    longest = np.where(steps == 1, MAX_LINKED_CA_DISTANCE_NM, _longest_across_gap(distance[steps == 1]))
    return (distance > MIN_LINKED_CA_DISTANCE_NM) & (distance < longest)


def _longest_across_gap(distance: np.ndarray) -> float:
    """Return the longest bond to expect, given how much the distances (pairs,) in nm of neighbours vary."""
    stiff, soft = MAX_LINKED_ACROSS_GAP_NM
    if len(distance) < _ENOUGH_BONDS:
        return soft
    spread = _SPREAD_PER_MEDIAN_DEVIATION * np.median(np.abs(distance - np.median(distance)))
    return float(np.clip(_BOND_NM + _SPREADS * spread, stiff, soft))


def number_steps(numbers: np.ndarray, insertion_codes: Sequence[str]) -> np.ndarray:
    """Return the steps between residue numbers: 1 from 27 to 28, from 27 to 27A and from 9999 to 0.

    Returns
    -------
    ndarray, (residues - 1,) int64
        Negative where the numbers decrease, 0 where a number is repeated.
    """
    numbers = np.asarray(numbers, dtype=np.int64)
    steps = np.diff(numbers)
    codes = np.asarray(insertion_codes, dtype=object)
    steps[(steps == 0) & (codes[1:] != codes[:-1])] = 1
    for first_missing in _NUMBERS_WRAP_AT:
        steps[(numbers[:-1] == first_missing - 1) & (numbers[1:] == 0)] = 1
    return steps


class Cap(NamedTuple):
    """A group that caps an end of a chain, with the residue it is bonded to."""

    residue: int
    name: str
    number: int
    insertion_code: str


@dataclass(frozen=True)
class Topology:
    """Residues of a structure in chain order.

    Parameters
    ----------
    residue_types : ndarray, (residues,) int64
        Index into ``RESIDUE_NAMES``.
    chain_index : ndarray, (residues,) int64
        Index of the chain of each residue, ascending from 0.
    chain_ids : tuple of str
        Name of each chain, as in the input.
    residue_numbers : ndarray, (residues,) int64
        Residue numbers, as in the input.
    insertion_codes : tuple of str
        One character per residue, empty where there is none.
    names : tuple of str
        Name of each modified residue, whose type is that of its parent; empty for the twenty amino acids.
    caps : tuple of Cap
        Groups at the ends of chains, in order.
    rings : tuple of int
        Indices of the chains that are closed head to tail by a peptide bond, ascending.
    """

    residue_types: np.ndarray
    chain_index: np.ndarray
    chain_ids: tuple[str, ...]
    residue_numbers: np.ndarray
    insertion_codes: tuple[str, ...] = field(default=())
    names: tuple[str, ...] = field(default=())
    caps: tuple[Cap, ...] = ()
    rings: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.residue_types)
        for name in ("insertion_codes", "names"):
            if not getattr(self, name):
                object.__setattr__(self, name, ("",) * count)
        for name in ("chain_index", "residue_numbers", "insertion_codes", "names"):
            if len(getattr(self, name)) != count:
                raise ValueError(f"{name} has {len(getattr(self, name))} entries for {count} residues")

    @classmethod
    def from_sequences(cls, *sequences: str) -> Topology:
        """Make a topology from one-letter sequences, one per chain, named A, B, C ... and numbered from 1."""
        names = [THREE_LETTERS[letter] for sequence in sequences for letter in sequence]
        return cls(
            residue_types=np.array([RESIDUE_NAMES.index(name) for name in names], dtype=np.int64),
            chain_index=np.repeat(np.arange(len(sequences)), [len(s) for s in sequences]),
            chain_ids=tuple(chr(ord("A") + index) for index in range(len(sequences))),
            residue_numbers=np.concatenate([np.arange(1, len(s) + 1) for s in sequences]),
        )

    @property
    def n_residues(self) -> int:
        """Number of residues."""
        return len(self.residue_types)

    @property
    def atom_mask(self) -> np.ndarray:
        """(residues, 15) bool: slots that hold an atom, including OXT at chain ends."""
        mask = ATOM_MASK[self.residue_types]
        mask[self.chain_ends & ~self.in_rings, SLOT_OXT] = True
        return mask

    @property
    def chain_ends(self) -> np.ndarray:
        """(residues,) bool: the last residue of each chain, where OXT belongs unless the chain is a ring."""
        return np.append(self.chain_index[1:] != self.chain_index[:-1], True)[: self.n_residues]

    @property
    def in_rings(self) -> np.ndarray:
        """(residues,) bool: residues of chains that are closed head to tail."""
        return np.isin(self.chain_index, self.rings)

    @property
    def interior(self) -> np.ndarray:
        """(residues,) bool: residues that are neither the first nor the last of an open chain."""
        ends = self.chain_ends
        return ~(ends | np.append(True, ends[:-1])[: self.n_residues]) | self.in_rings

    @property
    def next_in_chain(self) -> np.ndarray:
        """(residues,) int64: the residue after each in its chain; the first of the chain after the last."""
        following = np.arange(1, self.n_residues + 1)
        following[self.chain_ends] = np.flatnonzero(np.append(True, self.chain_ends[:-1])[: self.n_residues])
        return following

    def following(self, linked: np.ndarray) -> np.ndarray:
        """Return the residue (residues,) int64 at C of each residue, -1 without; see :meth:`linked`."""
        return np.where(linked, self.next_in_chain, -1)

    def preceding(self, linked: np.ndarray) -> np.ndarray:
        """Return the residue (residues,) int64 at N of each residue, -1 without; see :meth:`linked`."""
        preceding = np.full(self.n_residues, -1)
        preceding[self.next_in_chain[linked]] = np.flatnonzero(linked)
        return preceding

    def divided_at_breaks(self, linked: np.ndarray) -> Topology:
        """Make each segment between chain breaks a chain of its own, with the name of its chain.

        Parameters
        ----------
        linked : ndarray, (residues,) bool
            Which residues are bonded to the next one of their chain; see :meth:`linked`.
        """
        ends = ~linked | self.chain_ends
        segment = np.cumsum(np.append(0, ends[:-1]))[: self.n_residues]
        chain_of = self.chain_index[ends]
        return replace(
            self,
            chain_index=segment,
            chain_ids=tuple(self.chain_ids[chain] for chain in chain_of),
            rings=tuple(np.flatnonzero(np.isin(chain_of, self.rings)).tolist()),
        )

    def residue_name(self, residue: int) -> str:
        """Return the three-letter name of a residue, of the parent if it is modified."""
        return RESIDUE_NAMES[self.residue_types[residue]]

    def written_name(self, residue: int) -> str:
        """Return the name of a residue, its own if it is modified."""
        return self.names[residue] or self.residue_name(residue)

    def describe(self, residue: int) -> str:
        """Name a residue for a message: ``chain A residue 27B LEU``."""
        chain = self.chain_ids[self.chain_index[residue]].strip()
        number = self.numbered(residue)
        return f"{f'chain {chain} ' if chain else ''}residue {number} {self.written_name(residue)}"

    def numbered(self, residue: int) -> str:
        """Return the number of a residue with its insertion code: ``27B``."""
        return f"{self.residue_numbers[residue]}{self.insertion_codes[residue].strip()}"

    def linked(self, c_alpha: np.ndarray | None = None) -> np.ndarray:
        """Find which residues are bonded to their successor.

        Parameters
        ----------
        c_alpha : ndarray, (..., residues, 3), optional
            C-alpha positions in nm. The first frame decides: a pair whose distance is outside the range of
            bonds is a chain break. The range is wide enough for all frames to agree. Without positions, only
            chain ends separate residues.

        Returns
        -------
        ndarray, (residues,) bool
            True where a residue is bonded to the next one of its chain. The entry of the last residue of a
            chain is True if the chain is a ring, and False otherwise.
        """
        ends = self.chain_ends
        linked = ~ends
        if c_alpha is not None and self.n_residues > 1:
            first = np.asarray(c_alpha).reshape(-1, self.n_residues, 3)[0]
            distance = np.linalg.norm(first[1:] - first[:-1], axis=-1)
            steps = number_steps(self.residue_numbers, self.insertion_codes)
            linked[:-1] &= can_be_bonded(distance, steps)
        return linked | (ends & self.in_rings)

    def bonds(self, linked: np.ndarray | None = None) -> np.ndarray:
        """List covalent heavy-atom bonds as flat atom indices ``residue * 15 + slot``.

        Parameters
        ----------
        linked : ndarray, (residues,) bool, optional
            Which residues have a peptide bond to the next one of their chain; by default all within a chain,
            and the last of a ring.

        Returns
        -------
        ndarray, (bonds, 2) int64
            Bonds within residues in residue order, then C-OXT of chain ends, then peptide bonds from C of a
            residue to N of the next.
        """
        linked = self.linked() if linked is None else linked
        first_slot = ATOM_SLOTS * np.arange(self.n_residues)[:, None, None]
        within = (_BONDED_SLOTS[self.residue_types] + first_slot)[
            _BONDED_SLOTS[self.residue_types, :, 0] >= 0
        ]
        ends = np.flatnonzero(self.chain_ends & ~self.in_rings) * ATOM_SLOTS
        before = np.flatnonzero(linked)
        after = self.next_in_chain[before] * ATOM_SLOTS
        before = before * ATOM_SLOTS
        terminal = np.stack([ends + SLOT_C, ends + SLOT_OXT], axis=1)
        peptide = np.stack([before + SLOT_C, after + SLOT_N], axis=1)
        return np.concatenate([within, terminal, peptide])
