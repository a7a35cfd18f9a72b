"""Coarse-grained representations: which beads a residue has, and of which atoms each is the mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from backmap.chemistry.residues import ATOM_SLOTS, HEAVY_ATOMS, RESIDUE_NAMES, SIDE_CHAIN, SLOT_CA

_BACKBONE_REACH_NM, _SIDE_CHAIN_REACH_NM = 0.1, 0.45
"""About twice the distance of a bead from its C-alpha."""


def is_c_alpha(weights: np.ndarray) -> np.ndarray:
    """Return which beads, given the weights (beads, 15) of their atoms, are C-alphas."""
    return weights[:, SLOT_CA] == 1.0


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
        Beads of each residue by its three-letter name, in the order in which they are written. The main bead
        leads the chain from residue to residue: the C-alpha, or else the first one.
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
        tables = [self._weights[kind] for kind in residue_types.tolist()]
        names = [bead.name for kind in residue_types.tolist() for bead in self.beads[RESIDUE_NAMES[kind]]]
        number = np.array([len(table) for table in tables], dtype=np.int64)
        main = np.cumsum(number) - number + [int(np.argmax(is_c_alpha(table))) for table in tables]
        weights = np.concatenate(tables)
        if c_alphas is not None:
            weights[main[c_alphas]] = np.arange(ATOM_SLOTS) == SLOT_CA
        return BeadLayout(tuple(names), np.repeat(np.arange(len(tables)), number), weights, main)

    @cached_property
    def main_is_c_alpha(self) -> bool:
        """Whether the main bead of every residue is its C-alpha."""
        return all(is_c_alpha(table).any() for table in self._weights)

    @property
    def only_c_alphas(self) -> bool:
        """Whether C-alphas are the only beads."""
        return self.main_is_c_alpha and self.most_beads == 1

    @cached_property
    def reach_nm(self) -> float:
        """How much farther apart than C-alphas the main beads of neighbours may be, in nm."""
        if self.main_is_c_alpha:
            return 0.0
        backbone_only = all(not table[0, SIDE_CHAIN].any() for table in self._weights)
        return _BACKBONE_REACH_NM if backbone_only else _SIDE_CHAIN_REACH_NM

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
    main : ndarray, (residues,) int64
        The main bead of each residue.
    """

    names: tuple[str, ...]
    residues: np.ndarray
    weights: np.ndarray
    main: np.ndarray

    @property
    def n_beads(self) -> int:
        """Number of beads."""
        return len(self.names)

    @property
    def are_c_alphas(self) -> bool:
        """Whether every bead is a C-alpha."""
        return bool(is_c_alpha(self.weights).all())

    def image(self, atoms: np.ndarray) -> np.ndarray:
        """Return the beads (..., beads, 3) of atoms (..., residues, 15, 3), in the unit of the atoms."""
        used = np.where(self.weights[:, :, None] > 0, atoms[..., self.residues, :, :], 0.0)
        return np.einsum("bs,...bsx->...bx", self.weights, used)
