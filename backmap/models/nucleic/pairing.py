"""Hydrogen bonds of bases that are drawn face to face: springs that hold pairs while atoms are fitted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry.near_pairs import near_pairs
from backmap.chemistry.nucleic_topology import NucleicTopology
from backmap.chemistry.nucleotides import (
    HYDROGEN_BONDS,
    NUCLEOTIDE_SLOTS,
    PURINES,
    base_letter,
    nucleotide_atoms,
)

_STIFFNESS_KT_PER_NM2 = 2_000.0
_NEAR_NM = 0.5
"""Atoms N1 of a purine and N3 of a pyrimidine are no farther apart if the bases are drawn as a pair."""

_LOOP = 3
"""Bases of a hairpin's pair have at least this many nucleotides between them."""

_KINDS = np.full((5, 5), -1, dtype=np.int64)
"""Kind of the pair of two bases, in the order ACGTU; -1 if they do not pair."""
for _kind, (_one, _other) in enumerate(HYDROGEN_BONDS):
    _KINDS["ACGTU".index(_one), "ACGTU".index(_other)] = _kind


class Springs(NamedTuple):
    """Hydrogen bonds in frames.

    Attributes
    ----------
    frames : Tensor, (bonds,) int64
        Frame of each.
    ends : Tensor, (bonds, 2) int64
        Flat indices of its heavy atoms.
    shifts : Tensor, (bonds, 3)
        From the second atom to its image near the first in nm; zero except across periodic boundaries.
    lengths : Tensor, (bonds,)
        In nm.
    """

    frames: Tensor
    ends: Tensor
    shifts: Tensor
    lengths: Tensor


class BasePairs:
    """Finds pairs of bases, and pulls them together.

    Parameters
    ----------
    topology : NucleicTopology
        The nucleotides.
    device : torch.device or str
        Device to compute on.
    """

    def __init__(self, topology: NucleicTopology, device: torch.device | str) -> None:
        letters = [base_letter(topology.name(number)) for number in range(topology.n_nucleotides)]
        self._codes = np.array(["ACGTU".index(letter) for letter in letters], dtype=np.int64)
        self._chains, self._device = topology.chain_index, torch.device(device)
        purine = np.array([letter in PURINES for letter in letters], dtype=bool)
        self._purines, self._pyrimidines = np.flatnonzero(purine), np.flatnonzero(~purine)
        self._middle = [
            np.array([_flat(topology, number, atom) for number in numbers.tolist()], dtype=np.int64)
            for numbers, atom in ((self._purines, "N1"), (self._pyrimidines, "N3"))
        ]
        self._bonds = [
            [(_slot(pair[0], first), _slot(pair[1], second), length) for first, second, length in bonds]
            for pair, bonds in HYDROGEN_BONDS.items()
        ]

    def find(self, atoms: Tensor, box: Tensor | None = None) -> Springs:
        """Find hydrogen bonds of bases that are nearest to each other, in linear time.

        Parameters
        ----------
        atoms : Tensor, (frames, nucleotides, 23, 3)
            In nm.
        box : Tensor, (frames, 3, 3), optional
            Vectors of periodic boxes in nm, as rows.
        """
        points = atoms.flatten(1, 2).double().cpu().numpy()
        cells = [None] * len(points) if box is None else list(box.double().cpu().numpy())
        pairs = [self._pairs_of_frame(*frame) for frame in zip(points, cells, strict=True)]
        frames = np.repeat(np.arange(len(pairs)), [len(kinds) for kinds, *_ in pairs])
        kinds, first, second, shifts = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        found = []
        for number, bonds in enumerate(self._bonds):
            kept = kinds == number
            for slot, partner, length in bonds:
                ends = np.stack([first[kept] + slot, second[kept] + partner], axis=1)
                found.append((frames[kept], ends, shifts[kept], np.full(len(ends), length)))
        arrays = [torch.from_numpy(np.concatenate(parts)) for parts in zip(*found, strict=True)]
        return Springs(*(part.to(atoms if part.is_floating_point() else self._device) for part in arrays))

    def _pairs_of_frame(
        self, points: np.ndarray, box: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Find pairs in one frame, given atoms (atoms, 3) in nm.

        Returns
        -------
        kinds : ndarray, (pairs,) int64
            Index of the pair in ``HYDROGEN_BONDS``.
        first, second : ndarray, (pairs,) int64
            Flat index of the first slot of purine and pyrimidine.
        shifts : ndarray, (pairs, 3)
            From the pyrimidine to its image near the purine, in nm.
        """
        one, other = (points[middle] for middle in self._middle)
        rows, columns, shifts = near_pairs(one, other, _NEAR_NM, box)
        purines, pyrimidines = self._purines[rows], self._pyrimidines[columns]
        kinds = _KINDS[self._codes[purines], self._codes[pyrimidines]]
        apart = self._chains[purines] != self._chains[pyrimidines]
        apart |= np.abs(purines - pyrimidines) > _LOOP
        distance = np.linalg.norm(one[rows] - other[columns] - shifts, axis=1)
        possible = (kinds >= 0) & apart
        nearest = [np.full(len(middle), np.inf) for middle in self._middle]
        for least, ends in zip(nearest, (rows, columns), strict=True):
            np.minimum.at(least, ends[possible], distance[possible])
        kept = possible & (distance == nearest[0][rows]) & (distance == nearest[1][columns])
        flat = (ends[kept] * NUCLEOTIDE_SLOTS for ends in (purines, pyrimidines))
        return kinds[kept], *flat, shifts[kept]

    def add_gradient(self, gradient: Tensor, atoms: Tensor, springs: Springs) -> Tensor:
        """Add the gradient of the springs, in place, to that (frames, nucleotides * 23, 3) in kT/nm."""
        points = atoms.flatten(1, 2)
        first, second = springs.ends.unbind(dim=1)
        apart = points[springs.frames, second] + springs.shifts - points[springs.frames, first]
        distance = torch.linalg.vector_norm(apart, dim=-1).clamp_min(1e-6)
        pull = 2 * _STIFFNESS_KT_PER_NM2 * ((distance - springs.lengths) / distance)[:, None] * apart
        gradient.index_put_((springs.frames, second), pull, accumulate=True)
        return gradient.index_put_((springs.frames, first), -pull, accumulate=True)


def _slot(letter: str, atom: str) -> int:
    return nucleotide_atoms(f"D{letter}" if letter == "T" else letter).index(atom)


def _flat(topology: NucleicTopology, nucleotide: int, atom: str) -> int:
    return nucleotide * NUCLEOTIDE_SLOTS + nucleotide_atoms(topology.name(nucleotide)).index(atom)
