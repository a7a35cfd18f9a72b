"""Coarse-grained representations: which beads a residue has, and of which atoms each is the mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from backmap.chemistry.residues import ATOM_SLOTS, HEAVY_ATOMS, RESIDUE_NAMES
from backmap.chemistry.topology import Topology


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

    def layout(self, topology: Topology) -> BeadLayout:
        """List the beads of the residues of a protein."""
        names: list[str] = []
        residues: list[int] = []
        rows: list[np.ndarray] = []
        for residue, kind in enumerate(topology.residue_types.tolist()):
            beads = self.beads[RESIDUE_NAMES[kind]]
            names += [bead.name for bead in beads]
            residues += [residue] * len(beads)
            rows.append(self._weights[kind])
        return BeadLayout(tuple(names), np.array(residues, dtype=np.int64), np.concatenate(rows))

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

    def image(self, atoms: np.ndarray) -> np.ndarray:
        """Return the beads (..., beads, 3) of atoms (..., residues, 15, 3), in the unit of the atoms."""
        used = np.where(self.weights[:, :, None] > 0, atoms[..., self.residues, :, :], 0.0)
        return np.einsum("bs,...bsx->...bx", self.weights, used)
