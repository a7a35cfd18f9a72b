"""Coarse-grained representations: which beads a residue has, and of which atoms each is the mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from backmap.chemistry.residues import ATOM_SLOTS, HEAVY_ATOMS, RESIDUE_NAMES, SLOT_CA


@dataclass(frozen=True)
class Bead:
    """A bead at the weighted mean of some atoms of its residue.

    Parameters
    ----------
    name : str
        Name of the bead in files.
    atoms : tuple of str
        IUPAC names of heavy atoms.
    weights : tuple of float
        Weight of each atom; they sum to one.
    """

    name: str
    atoms: tuple[str, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class BeadMapping:
    """A coarse-grained representation of the twenty amino acids.

    Parameters
    ----------
    name : str
        Name of the mapping.
    description : str
        One line that says which models use it.
    beads : mapping of str to tuple of Bead
        Beads of each residue by its three-letter name, in the order in which they are written. The first
        bead is the main one: it leads the chain from residue to residue.
    ignored : frozenset of str
        Names of virtual sites that files of such models also contain.
    """

    name: str
    description: str
    beads: Mapping[str, tuple[Bead, ...]]
    ignored: frozenset[str] = frozenset()

    @property
    def most_beads(self) -> int:
        """Largest number of beads of a residue."""
        return max(map(len, self.beads.values()))

    def layout(self, residue_types: np.ndarray, c_alphas: np.ndarray | None = None) -> BeadLayout:
        """List the beads of the residues of a protein.

        Parameters
        ----------
        residue_types : ndarray, (residues,) int64
            Index into ``RESIDUE_NAMES``.
        c_alphas : ndarray, (residues,) bool, optional
            Residues whose main bead is the C-alpha, whatever the mapping says: models that hold folded
            domains by residue centres have C-alphas in disordered chains.
        """
        names: list[str] = []
        residues: list[int] = []
        rows: list[np.ndarray] = []
        for residue, kind in enumerate(residue_types.tolist()):
            beads = self.beads[RESIDUE_NAMES[kind]]
            names += [bead.name for bead in beads]
            residues += [residue] * len(beads)
            rows.append(self._weights[kind])
        layout = BeadLayout(tuple(names), np.array(residues, dtype=np.int64), np.concatenate(rows))
        if c_alphas is not None:
            layout.weights[layout.main[c_alphas]] = np.arange(ATOM_SLOTS) == SLOT_CA
        return layout

    @cached_property
    def _weights(self) -> list[np.ndarray]:
        """Weights (beads, 15) of the atoms of each residue type."""
        tables = []
        for residue in RESIDUE_NAMES:
            table = np.zeros((len(self.beads[residue]), ATOM_SLOTS))
            for row, bead in zip(table, self.beads[residue], strict=True):
                row[[HEAVY_ATOMS[residue].index(atom) for atom in bead.atoms]] = bead.weights
            tables.append(table)
        return tables


@dataclass(frozen=True, eq=False)
class BeadLayout:
    """The beads of a protein, residue by residue.

    Parameters
    ----------
    names : tuple of str
        Name of each bead.
    residues : ndarray, (beads,) int64
        Residue of each bead, ascending.
    weights : ndarray, (beads, 15) float64
        Weight of each atom of its residue.
    """

    names: tuple[str, ...]
    residues: np.ndarray
    weights: np.ndarray

    @property
    def n_beads(self) -> int:
        """Number of beads."""
        return len(self.names)

    @property
    def main(self) -> np.ndarray:
        """(residues,) int64: the main bead of each residue."""
        return np.flatnonzero(np.diff(self.residues, prepend=-1))

    def image(self, atoms: np.ndarray) -> np.ndarray:
        """Return the beads (..., beads, 3) of atoms (..., residues, 15, 3), in the unit of the atoms."""
        used = np.where(self.weights[:, :, None] > 0, atoms[..., self.residues, :, :], 0.0)
        return np.einsum("bs,...bsx->...bx", self.weights, used)
