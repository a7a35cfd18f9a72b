"""The sequence of a structure as tensors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

NO_RESIDUE = 20
"""Type of a residue that is not there: before a chain's start or behind its end."""


class Chain(NamedTuple):
    """Residues of a structure in order; one or several chains.

    Attributes
    ----------
    types : Tensor, (residues,) int64
        Index into ``RESIDUE_NAMES``.
    chain_index : Tensor, (residues,) int64
        Which chain each residue belongs to.
    linked : Tensor, (residues,) bool
        Residue i is bonded to i + 1.
    """

    types: Tensor
    chain_index: Tensor
    linked: Tensor

    @classmethod
    def from_arrays(
        cls, types: np.ndarray, chain_index: np.ndarray, linked: np.ndarray, device: torch.device | str
    ) -> Chain:
        """Make a sequence of arrays (residues,)."""
        arrays = (types, chain_index, linked)
        return cls(*(torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays))

    @property
    def residues(self) -> int:
        """Number of residues."""
        return self.types.shape[0]

    def has_neighbour(self, offset: int) -> Tensor:
        """(residues,) bool: residues i ... i + offset are bonded without a break."""
        reached = torch.ones_like(self.linked)
        for step in range(abs(offset)):
            reached &= shift(self.linked, step if offset > 0 else -step - 1, False)
        return reached

    def neighbour_types(self, offset: int) -> Tensor:
        """(residues,) int64: type of residue i + offset, ``NO_RESIDUE`` across a chain end or break."""
        return torch.where(self.has_neighbour(offset), shift(self.types, offset, NO_RESIDUE), NO_RESIDUE)

    def segments(self) -> Tensor:
        """(segments, longest) int64: residues of each run without a break, padded with -1."""
        number = torch.cumsum(~shift(self.linked, -1, False), dim=0) - 1
        lengths = torch.bincount(number)
        place = torch.arange(self.residues, device=number.device) - (lengths.cumsum(0) - lengths)[number]
        table = number.new_full((len(lengths), int(lengths.max())), -1)
        table[number, place] = torch.arange(self.residues, device=number.device)
        return table


def shift(values: Tensor, offset: int, fill: bool | int | float, dim: int = 0) -> Tensor:
    """Give every entry the value ``offset`` places later along ``dim``, ``fill`` beyond the ends."""
    shifted = torch.full_like(values, fill)
    length = values.shape[dim] - abs(offset)
    if length > 0:
        source, target = max(offset, 0), max(-offset, 0)
        shifted.narrow(dim, target, length).copy_(values.narrow(dim, source, length))
    return shifted
