"""Chains that are closed head to tail: by a named bond, or by atoms C and N at bonding distance."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from backmap.chemistry import SLOT_C, SLOT_N, SLOT_OXT, Topology
from backmap.chemistry.sites import Sites
from backmap.chemistry.topology import (
    MAX_LINKED_CA_DISTANCE_NM,
    MIN_LINKED_CA_DISTANCE_NM,
    SHORTEST_RING,
)
from backmap.errors import InputError, InputWarning

from ..atom_list import AtomList
from .links import NamedBond, ResiduePlace

_PEPTIDE_BOND_NM = (0.11, 0.16)
"""C and N within this range are bonded. (The ideal is 0.133 nm; coordinates in files are less accurate.)"""
_CLOSED_NM = (0.36, 0.40)
_RING_LENGTHS = (5, 40)
"""Cyclic peptides are short, and the bond that closes the ring is as long as the others."""


@dataclass(frozen=True, eq=False)
class RingFinder:
    """The chains of a protein in its first frame.

    Attributes
    ----------
    topology : Topology
        The residues.
    linked : ndarray, (residues,) bool
        Which residues are bonded to the next one, without the bonds that close rings.
    c_alpha : ndarray, (residues, 3)
        C-alphas, or main beads, in nm, with whole molecules.
    reach_nm : float
        How much farther apart than C-alphas main beads may be, in nm.
    file : str
        Name of the file, for messages.
    """

    topology: Topology
    linked: np.ndarray
    c_alpha: np.ndarray
    reach_nm: float
    file: str

    @cached_property
    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """First and last residues (chains,) of all chains."""
        last = np.flatnonzero(self.topology.chain_ends)
        return np.append(0, last[:-1] + 1), last

    @cached_property
    def _named_ends(self) -> dict[NamedBond, list[int]]:
        """Chains by the names of their last and first residues."""
        chains: dict[NamedBond, list[int]] = {}
        for chain, (first, last) in enumerate(zip(*self._ends, strict=True)):
            names = ResiduePlace.of(self.topology, last), ResiduePlace.of(self.topology, first)
            chains.setdefault(names, []).append(chain)
        return chains

    @cached_property
    def _spans(self) -> np.ndarray:
        """(chains,) float64: distances in nm of the first and the last C-alpha."""
        first, last = self._ends
        return np.linalg.norm(self.c_alpha[last] - self.c_alpha[first], axis=-1)

    def required(self, bonds: Sequence[NamedBond]) -> set[int]:
        """Return the chains that the user closes.

        Raises
        ------
        InputError
            If a bond cannot close a chain.
        """
        found = set()
        for bond in bonds:
            chains = self._named_ends.get(bond, [])
            reason: str | None = "they are not the last and the first residue of one chain"
            if len(chains) > 1:
                reason = "several chains have these residues; give the chains different names"
            elif chains:
                reason = self._reason_against(chains[0])
            if reason:
                raise InputError(
                    f"{self.file}: no peptide bond from C of {bond[0]} to N of {bond[1]} can close a ring: "
                    f"{reason}"
                )
            found.add(chains[0])
        return found

    def named(self, bonds: Sequence[NamedBond]) -> set[int]:
        """Return the chains that the file closes; warn about those that cannot be, and leave them open.

        Other peptide bonds that the file names do not matter.
        """
        found = set()
        for bond in bonds:
            for chain in self._named_ends.get(bond, []):
                reason = self._reason_against(chain)
                if reason:
                    warnings.warn(
                        f"{self.file}: the chain from {bond[1]} to {bond[0]} is built open, although the "
                        f"file names a bond between its ends: {reason}",
                        InputWarning,
                        stacklevel=2,
                    )
                else:
                    found.add(chain)
        return found

    def bonded(self, sites: Sites, positions: np.ndarray) -> set[int]:
        """Return the chains whose last C is bonded to their first N: both are among the atoms, and no OXT is.

        Parameters
        ----------
        sites : Sites
            Atoms that are known.
        positions : ndarray, (sites, 3)
            In nm, with whole molecules.
        """
        residues, slots = sites.places
        ends = np.full((2, self.topology.n_residues, 3), np.nan)
        for end, slot in zip(ends, (SLOT_N, SLOT_C), strict=True):
            end[residues[slots == slot]] = positions[slots == slot]
        first, last = self._ends
        distance = np.linalg.norm(ends[1, last] - ends[0, first], axis=-1)
        bonded = (distance > _PEPTIDE_BOND_NM[0]) & (distance < _PEPTIDE_BOND_NM[1])
        bonded &= ~np.isin(last, residues[slots == SLOT_OXT])
        return {chain for chain in np.flatnonzero(bonded).tolist() if not self._reason_against(chain)}

    def warn_of_open(self, rings: set[int]) -> None:
        """Warn once about open chains whose C-alphas at the ends are at bonding distance."""
        topology, spans, (starts, ends) = self.topology, self._spans, self._ends
        length = ends - starts + 1
        fits = (spans > _CLOSED_NM[0]) & (spans < _CLOSED_NM[1])
        fits &= (length >= _RING_LENGTHS[0]) & (length <= _RING_LENGTHS[1])
        near = [
            chain
            for chain in np.flatnonzero(fits).tolist()
            if chain not in rings and not self._reason_against(chain)
        ]
        if not near:
            return
        first, last = int(starts[near[0]]), int(ends[near[0]])
        chain_id = topology.chain_ids[near[0]].strip()
        link = f"{chain_id}:{topology.numbered(last)}:C-{chain_id}:{topology.numbered(first)}:N"
        more = f" (and {len(near) - 1} more chains)" if len(near) > 1 else ""
        warnings.warn(
            f"{self.file}: {topology.describe(first)} and {topology.describe(last)} are at bonding "
            f"distance ({spans[near[0]]:.2f} nm) like the ends of a cyclic peptide{more}; "
            f"the chain is built open, with two ends, unless --link {link} closes it",
            InputWarning,
            stacklevel=2,
        )

    def _reason_against(self, chain: int) -> str | None:
        """Return why a chain cannot be a ring; None if it can."""
        first, last = (int(ends[chain]) for ends in self._ends)
        if last - first + 1 < SHORTEST_RING:
            return f"a ring has at least {SHORTEST_RING} residues"
        broken = np.flatnonzero(~self.linked[first:last])
        if len(broken):
            return f"the chain is broken after {self.topology.describe(first + int(broken[0]))}"
        if any(first <= cap.residue <= last for cap in self.topology.caps):
            return "the chain has a cap"
        distance, longest = self._spans[chain], MAX_LINKED_CA_DISTANCE_NM + self.reach_nm
        if not MIN_LINKED_CA_DISTANCE_NM < distance < longest:
            return (
                f"their C-alphas are {distance:.2f} nm apart, but bonded ones are "
                f"{MIN_LINKED_CA_DISTANCE_NM} to {longest:.3g} nm apart"
            )
        return None


def closing_bonds_of_frame(atoms: AtomList, coordinates: np.ndarray) -> list[tuple[int, int, float]]:
    """Return the last and first residues of rings in a frame (atoms, 3), and their bond's length, in nm."""
    owner = atoms.owners
    return [
        (
            int(owner[carbon]),
            int(owner[nitrogen]),
            float(np.linalg.norm(coordinates[carbon] - coordinates[nitrogen])),
        )
        for carbon, nitrogen in atoms.closing_bonds
    ]
