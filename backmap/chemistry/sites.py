"""The positions read of every frame of a protein: its atoms, or the beads of a coarse-grained model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from backmap.chemistry.residues import ATOM_SLOTS, HEAVY_ATOMS, SLOT_CA, SLOT_OXT
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
    slots : ndarray, (sites,) int64, optional
        The slot of each atom; beads have none.
    """

    names: tuple[str, ...]
    residues: np.ndarray
    leaders: np.ndarray
    slots: np.ndarray | None = None

    @classmethod
    def of_atoms(cls, topology: Topology, present: np.ndarray) -> Sites:
        """List the present atoms (residues, 15) bool of a protein, which include all C-alphas."""
        residues, slots = np.nonzero(present)
        kinds = [atom_names(topology.residue_name(residue)) for residue in range(topology.n_residues)]
        places = zip(residues.tolist(), slots.tolist(), strict=True)
        names = tuple(kinds[residue][slot] for residue, slot in places)
        return cls(names, residues, np.flatnonzero(slots == SLOT_CA), slots)

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
        names = tuple(self.names[site] for site in kept)
        slots = None if self.slots is None else self.slots[kept]
        return Sites(names, self.residues[kept], place[self.leaders], slots)

    @property
    def present(self) -> np.ndarray:
        """(residues, 15) bool: the slots that the atoms fill."""
        present = np.zeros((len(self.leaders), ATOM_SLOTS), dtype=bool)
        present[self.places] = True
        return present

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Residue and slot of each atom, (sites,) int64 each. Raises ValueError if the sites are beads."""
        if self.slots is None:
            raise ValueError("beads have no slots")
        return self.residues, self.slots

    def in_slots(self, positions: np.ndarray) -> np.ndarray:
        """Arrange atoms (..., sites, 3) in slots (..., residues, 15, 3), with NaN in empty slots."""
        shape = (*positions.shape[:-2], len(self.leaders), ATOM_SLOTS, 3)
        arranged = np.full(shape, np.nan, dtype=positions.dtype)
        arranged[..., *self.places, :] = positions
        return arranged
