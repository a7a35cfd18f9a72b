"""The positions read of every frame of a protein: its atoms, or the beads of a coarse-grained model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from backmap.chemistry.residues import ATOM_SLOTS, HEAVY_ATOMS, RESIDUE_NAMES, SLOT_CA, SLOT_OXT
from backmap.chemistry.topology import Topology

_SLOTS = {
    name: {atom: slot for slot, atom in enumerate(atoms)} | {"OXT": SLOT_OXT}
    for name, atoms in HEAVY_ATOMS.items()
}


def slot_of(residue_name: str, atom: str) -> int | None:
    """Return the slot of an atom of an amino acid, or None if the amino acid does not have it."""
    return _SLOTS[residue_name].get(atom)


@lru_cache
def atom_names(residue_name: str) -> tuple[str, ...]:
    """Return the atom names of an amino acid by slot, OXT last; unused slots are empty."""
    names = HEAVY_ATOMS[residue_name]
    return names + ("",) * (ATOM_SLOTS - 1 - len(names)) + ("OXT",)


@dataclass(frozen=True, eq=False)
class Sites:
    """Named positions of the residues of a protein, residue by residue.

    Parameters
    ----------
    names : tuple of str
        Name of each site: an atom, or a bead.
    residues : ndarray, (sites,) int64
        Residue of each site, ascending.
    leaders : ndarray, (residues,) int64
        The site of each residue that leads the chain from residue to residue: its C-alpha or main bead.
    """

    names: tuple[str, ...]
    residues: np.ndarray
    leaders: np.ndarray

    @classmethod
    def of_atoms(cls, topology: Topology, present: np.ndarray) -> Sites:
        """List the present atoms (residues, 15) bool of a protein, which include all C-alphas."""
        residues, slots = np.nonzero(present)
        kinds = [atom_names(topology.residue_name(residue)) for residue in range(topology.n_residues)]
        places = zip(residues.tolist(), slots.tolist(), strict=True)
        names = tuple(kinds[residue][slot] for residue, slot in places)
        return cls(names, residues, np.flatnonzero(slots == SLOT_CA))

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return len(self.names)

    @property
    def only_leaders(self) -> Sites:
        """The leading sites only."""
        return self.select(self.leaders)

    def select(self, kept: np.ndarray) -> Sites:
        """Return some sites, ascending, which include the leading ones."""
        place = np.full(self.n_sites, -1)
        place[kept] = np.arange(len(kept))
        return Sites(tuple(self.names[site] for site in kept), self.residues[kept], place[self.leaders])

    def slots(self, topology: Topology) -> np.ndarray:
        """Return the slot (sites,) int64 of each atom; sites must be atoms of their residues."""
        kinds = topology.residue_types[self.residues].tolist()
        return np.array(
            [_SLOTS[RESIDUE_NAMES[kind]][name] for kind, name in zip(kinds, self.names, strict=True)],
            dtype=np.int64,
        )

    def present(self, topology: Topology) -> np.ndarray:
        """Return which slots (residues, 15) bool the atoms fill."""
        present = np.zeros((topology.n_residues, ATOM_SLOTS), dtype=bool)
        present[self.residues, self.slots(topology)] = True
        return present

    def in_slots(self, positions: np.ndarray, topology: Topology) -> np.ndarray:
        """Arrange atoms (..., sites, 3) in slots (..., residues, 15, 3), NaN where there is no atom."""
        shape = (*positions.shape[:-2], topology.n_residues, ATOM_SLOTS, 3)
        arranged = np.full(shape, np.nan, dtype=positions.dtype)
        arranged[..., self.residues, self.slots(topology), :] = positions
        return arranged
