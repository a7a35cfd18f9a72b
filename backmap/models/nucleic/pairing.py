"""Hydrogen bonds of bases that are drawn face to face: springs that hold pairs while atoms are fitted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

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
    lengths : Tensor, (bonds,)
        In nm.
    """

    frames: Tensor
    ends: Tensor
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
        purine = np.array([letter in PURINES for letter in letters], dtype=bool)
        purines, others = np.flatnonzero(purine), np.flatnonzero(~purine)
        self._middle = [
            torch.tensor(
                [_flat(topology, number, atom) for number in numbers], dtype=torch.int64, device=device
            )
            for numbers, atom in ((purines.tolist(), "N1"), (others.tolist(), "N3"))
        ]
        codes = np.array(["ACGTU".index(letter) for letter in letters], dtype=np.int64)
        kind = _KINDS[codes[purines][:, None], codes[others]]
        chains = topology.chain_index
        apart = np.abs(purines[:, None] - others) > _LOOP
        apart |= chains[purines][:, None] != chains[others]
        self._kind = torch.from_numpy(kind).to(device)
        self._possible = torch.from_numpy((kind >= 0) & apart).to(device)
        self._bonds = [
            [(_slot(pair[0], first), _slot(pair[1], second), length) for first, second, length in bonds]
            for pair, bonds in HYDROGEN_BONDS.items()
        ]

    def find(self, atoms: Tensor) -> Springs:
        """Find hydrogen bonds of pairs in atoms (frames, nucleotides, 23, 3): bases nearest to each other."""
        points = atoms.flatten(1, 2)
        one, other = (points[:, middle] for middle in self._middle)
        distance = torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")
        distance = torch.where(self._possible, distance, torch.inf)
        if not distance.shape[1] or not distance.shape[2]:
            empty = torch.empty(0, dtype=torch.int64, device=atoms.device)
            return Springs(empty, empty.reshape(0, 2), atoms.new_empty(0))
        mutual = (distance == distance.amin(dim=1, keepdim=True)) & (
            distance == distance.amin(dim=2, keepdim=True)
        )
        frames, rows, columns = torch.nonzero(mutual & (distance < _NEAR_NM), as_tuple=True)
        first, second = (
            torch.div(middle[place], NUCLEOTIDE_SLOTS, rounding_mode="floor") * NUCLEOTIDE_SLOTS
            for middle, place in zip(self._middle, (rows, columns), strict=True)
        )
        kind = self._kind[rows, columns]
        found = []
        for number, bonds in enumerate(self._bonds):
            kept = kind == number
            for slot, partner, length in bonds:
                ends = torch.stack([first[kept] + slot, second[kept] + partner], dim=1)
                found.append((frames[kept], ends, atoms.new_full((len(ends),), length)))
        return Springs(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def add_gradient(self, gradient: Tensor, atoms: Tensor, springs: Springs) -> Tensor:
        """Add the gradient of the springs, in place, to that (frames, nucleotides * 23, 3) in kT/nm."""
        points = atoms.flatten(1, 2)
        first, second = springs.ends.unbind(dim=1)
        apart = points[springs.frames, second] - points[springs.frames, first]
        distance = torch.linalg.vector_norm(apart, dim=-1).clamp_min(1e-6)
        pull = 2 * _STIFFNESS_KT_PER_NM2 * ((distance - springs.lengths) / distance)[:, None] * apart
        gradient.index_put_((springs.frames, second), pull, accumulate=True)
        return gradient.index_put_((springs.frames, first), -pull, accumulate=True)


def _slot(letter: str, atom: str) -> int:
    return nucleotide_atoms(f"D{letter}" if letter == "T" else letter).index(atom)


def _flat(topology: NucleicTopology, nucleotide: int, atom: str) -> int:
    return nucleotide * NUCLEOTIDE_SLOTS + nucleotide_atoms(topology.name(nucleotide)).index(atom)
