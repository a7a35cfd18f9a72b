"""Molecules of any kind: atoms in the order of the coordinates, and bonds."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

_LONGEST_NAME = 16


@dataclass(frozen=True)
class Molecule:
    """Atoms and bonds, including caps and hydrogens.

    Parameters
    ----------
    atom_names, elements, residue_names : tuple of str
        One entry per atom; elements by symbol.
    residue_numbers : tuple of int
        One entry per atom.
    bonds : tuple of pairs of int
        Indices of bonded atoms.

    Raises
    ------
    ValueError
        If the entries do not agree in number, a name is empty or contains spaces, or a bond refers to an atom
        that does not exist.
    """

    atom_names: tuple[str, ...]
    elements: tuple[str, ...]
    residue_names: tuple[str, ...]
    residue_numbers: tuple[int, ...]
    bonds: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        per_atom = self.atom_names, self.elements, self.residue_names, self.residue_numbers
        if len({len(entries) for entries in per_atom}) > 1:
            raise ValueError("a molecule needs one name, element, residue name and residue number per atom")
        for name in {*self.atom_names, *self.elements, *self.residue_names}:
            if len(name) > _LONGEST_NAME or not re.fullmatch("[!-~]+", name):
                raise ValueError(
                    f"invalid name {name[:40]!r} in a molecule; names must be 1 to {_LONGEST_NAME} ASCII "
                    "characters without spaces"
                )
        for first, second in self.bonds:
            if not (0 <= first < self.n_atoms and 0 <= second < self.n_atoms):
                raise ValueError(
                    f"bond {first}-{second} refers to an atom beyond the {self.n_atoms} of the molecule"
                )

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.atom_names)

    def describe(self, atom: int) -> str:
        """Name an atom for a message: ``residue 2 ALA atom CA``."""
        return f"residue {self.residue_numbers[atom]} {self.residue_names[atom]} atom {self.atom_names[atom]}"

    @cached_property
    def bonded(self) -> tuple[tuple[int, ...], ...]:
        """Atoms bonded to each atom, in ascending order."""
        neighbours: list[list[int]] = [[] for _ in range(self.n_atoms)]
        for first, second in self.bonds:
            neighbours[first].append(second)
            neighbours[second].append(first)
        return tuple(tuple(sorted(atoms)) for atoms in neighbours)

    def bond_distances(self, atom: int) -> np.ndarray:
        """Return the number of bonds from an atom to every atom, (atoms,); -1 if they are not connected."""
        distances = np.full(self.n_atoms, -1, dtype=np.int64)
        distances[atom] = 0
        waiting = deque([atom])
        while waiting:
            here = waiting.popleft()
            for there in self.bonded[here]:
                if distances[there] < 0:
                    distances[there] = distances[here] + 1
                    waiting.append(there)
        return distances

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a model file."""
        return {
            "atom_names": list(self.atom_names),
            "elements": list(self.elements),
            "residue_names": list(self.residue_names),
            "residue_numbers": list(self.residue_numbers),
            "bonds": [list(bond) for bond in self.bonds],
        }
