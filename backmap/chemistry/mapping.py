"""Coarse-grained beads as weighted means of atoms: any linear mapping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from backmap.chemistry.molecule import Molecule

_MOST_WEIGHTS = 20_000_000
"""Entries of the matrix of a mapping that is read from a file."""


@dataclass(frozen=True)
class LinearMapping:
    """Where the beads of a molecule are.

    Parameters
    ----------
    weights : ndarray, (beads, atoms) float64
        Share of each atom in each bead; the shares of a bead sum to one.
    bead_names : tuple of str
        One name a bead.

    Raises
    ------
    ValueError
        If shapes do not agree or the shares of a bead do not sum to one.
    """

    weights: np.ndarray
    bead_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or len(self.weights) != len(self.bead_names):
            raise ValueError(
                f"{len(self.bead_names)} beads need weights (beads, atoms), got {self.weights.shape}"
            )
        sums = self.weights.sum(axis=1)
        if not np.allclose(sums, 1.0, atol=1e-6):
            bead = int(np.argmax(abs(sums - 1.0)))
            raise ValueError(f"the weights of bead {self.bead_names[bead]} sum to {sums[bead]:.6g}, not to 1")

    @classmethod
    def from_atoms(cls, indices: Sequence[int], molecule: Molecule) -> LinearMapping:
        """One bead on each of some atoms."""
        for index in indices:
            if not 0 <= index < molecule.atoms:
                raise ValueError(f"bead atom {index} is beyond the {molecule.atoms} atoms of the molecule")
        weights = np.zeros((len(indices), molecule.atoms))
        weights[np.arange(len(indices)), list(indices)] = 1.0
        return cls(weights, tuple(molecule.atom_names[index] for index in indices))

    @property
    def beads(self) -> int:
        """Number of beads."""
        return len(self.bead_names)

    @cached_property
    def bead_atoms(self) -> tuple[int, ...] | None:
        """The one atom of each bead, or None where a bead is a mean of several."""
        if not np.isin(self.weights, (0.0, 1.0)).all():
            return None
        return tuple(int(index) for index in self.weights.argmax(axis=1))

    def apply(self, coordinates: np.ndarray) -> np.ndarray:
        """Beads (..., beads, 3) of atoms (..., atoms, 3)."""
        return np.einsum("ba,...ax->...bx", self.weights, coordinates)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a model file: the atoms that share in each bead, and their shares."""
        atoms = [np.flatnonzero(row) for row in self.weights]
        return {
            "atoms": self.weights.shape[1],
            "bead_names": list(self.bead_names),
            "bead_atoms": [row.tolist() for row in atoms],
            "bead_weights": [self.weights[bead, row].tolist() for bead, row in enumerate(atoms)],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LinearMapping:
        """The mapping of :meth:`to_dict`. Raises ValueError if atoms or shares do not agree in number."""
        names, atoms = tuple(values["bead_names"]), values["atoms"]
        rows = list(zip(values["bead_atoms"], values["bead_weights"], strict=True))
        if len(rows) != len(names):
            raise ValueError(f"{len(names)} beads have names, but {len(rows)} have atoms")
        if len(names) * atoms > _MOST_WEIGHTS:
            raise ValueError(f"{len(names)} beads of {atoms} atoms are too many")
        weights = np.zeros((len(names), atoms))
        for row, (members, shares) in zip(weights, rows, strict=True):
            if len(members) != len(shares) or not all(0 <= atom < atoms for atom in members):
                raise ValueError(f"a bead needs a share of each of its atoms, numbered from 0 to {atoms - 1}")
            row[list(members)] = shares
        return cls(weights, names)
