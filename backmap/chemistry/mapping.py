"""Linear mappings: coarse-grained beads as weighted means of atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from backmap.chemistry.molecule import Molecule

_MOST_WEIGHTS = 20_000_000
"""Largest matrix (beads times atoms) of a mapping read from a file."""


@dataclass(frozen=True)
class LinearMapping:
    """Positions of a molecule's beads as weighted means of its atoms.

    Parameters
    ----------
    weights : ndarray, (beads, atoms) float64
        Weight of each atom in each bead; the weights of a bead sum to one.
    bead_names : tuple of str
        One name per bead.

    Raises
    ------
    ValueError
        If shapes do not agree or the weights of a bead do not sum to one.
    """

    weights: np.ndarray
    bead_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or len(self.weights) != len(self.bead_names):
            raise ValueError(
                f"{len(self.bead_names)} beads need weights of shape (beads, atoms), got {self.weights.shape}"
            )
        sums = self.weights.sum(axis=1)
        if not np.allclose(sums, 1.0, atol=1e-6):
            bead = int(np.argmax(abs(sums - 1.0)))
            raise ValueError(f"the weights of bead {self.bead_names[bead]} sum to {sums[bead]:.6g}, not 1")

    @classmethod
    def from_atoms(cls, indices: Sequence[int], molecule: Molecule) -> LinearMapping:
        """Place one bead at each of the given atoms."""
        for index in indices:
            if not 0 <= index < molecule.n_atoms:
                raise ValueError(f"bead atom {index} is beyond the {molecule.n_atoms} atoms of the molecule")
        weights = np.zeros((len(indices), molecule.n_atoms))
        weights[np.arange(len(indices)), list(indices)] = 1.0
        return cls(weights, tuple(molecule.atom_names[index] for index in indices))

    @property
    def n_beads(self) -> int:
        """Number of beads."""
        return len(self.bead_names)

    @cached_property
    def bead_atoms(self) -> tuple[int, ...] | None:
        """The atom of each bead, or None if any bead is a mean of several atoms."""
        if not np.isin(self.weights, (0.0, 1.0)).all():
            return None
        return tuple(int(index) for index in self.weights.argmax(axis=1))

    def apply(self, coordinates: np.ndarray) -> np.ndarray:
        """Return the beads (..., beads, 3) of atoms (..., atoms, 3)."""
        return np.einsum("ba,...ax->...bx", self.weights, coordinates)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a model file: the atoms of each bead and their weights."""
        atoms = [np.flatnonzero(row) for row in self.weights]
        return {
            "atoms": self.weights.shape[1],
            "bead_names": list(self.bead_names),
            "bead_atoms": [row.tolist() for row in atoms],
            "bead_weights": [self.weights[bead, row].tolist() for bead, row in enumerate(atoms)],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LinearMapping:
        """Restore a mapping from :meth:`to_dict`. Raise ValueError if numbers of atoms and weights differ."""
        names, atoms = tuple(values["bead_names"]), values["atoms"]
        rows = list(zip(values["bead_atoms"], values["bead_weights"], strict=True))
        if len(rows) != len(names):
            raise ValueError(f"{len(names)} beads have names, but {len(rows)} have atoms")
        if len(names) * atoms > _MOST_WEIGHTS:
            raise ValueError(f"a mapping of {atoms} atoms to {len(names)} beads is too large")
        weights = np.zeros((len(names), atoms))
        for row, (members, shares) in zip(weights, rows, strict=True):
            if len(members) != len(shares) or not all(0 <= atom < atoms for atom in members):
                raise ValueError(f"a bead needs one weight per atom; atoms are numbered 0 to {atoms - 1}")
            row[list(members)] = shares
        return cls(weights, names)
