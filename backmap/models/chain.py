"""The sequence of a structure as tensors. Can be compiled by TorchScript."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from backmap import chemistry
from backmap.chemistry import topology


class Chain:
    """The residues of a structure in order, in one or several chains.

    Parameters
    ----------
    types : Tensor, (residues,) int64
        Indices into ``RESIDUE_NAMES``.
    chain_index : Tensor, (residues,) int64
        Chain of each residue.
    linked : Tensor, (residues,) bool
        Whether residue i is bonded to residue i + 1.
    """

    def __init__(self, types: Tensor, chain_index: Tensor, linked: Tensor) -> None:
        self.types = types
        self.chain_index = chain_index
        self.linked = linked

    @classmethod
    @torch.jit.unused
    def from_arrays(
        cls, types: np.ndarray, chain_index: np.ndarray, linked: np.ndarray, device: torch.device | str
    ) -> Chain:
        """Create a chain from arrays (residues,)."""
        arrays = (types, chain_index, linked)
        return cls(*(torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays))

    @property
    def n_residues(self) -> int:
        """Number of residues."""
        return self.types.shape[0]

    def has_neighbour(self, offset: int) -> Tensor:
        """Return where (residues,) the residues i ... i + offset are bonded without a break."""
        reached = torch.ones_like(self.linked)
        for step in range(abs(offset)):
            reached &= shift(self.linked, step if offset > 0 else -step - 1, 0.0)
        return reached

    def neighbour_types(self, offset: int) -> Tensor:
        """Return the types (residues,) of residues i + offset, ``NO_RESIDUE`` beyond an end or a break."""
        types = shift(self.types, offset, 0.0)
        return torch.where(self.has_neighbour(offset), types, chemistry.NO_RESIDUE)

    def segments(self) -> Tensor:
        """Return the residues (segments, longest) of each unbroken run, longest first, padded with -1."""
        number = torch.cumsum(~shift(self.linked, -1, 0.0), dim=0) - 1
        lengths = torch.bincount(number)
        place = torch.arange(self.n_residues, device=number.device) - (lengths.cumsum(0) - lengths)[number]
        table = number.new_full((len(lengths), int(lengths.max())), -1)
        rank = torch.argsort(torch.argsort(lengths, descending=True, stable=True))
        table[rank[number], place] = torch.arange(self.n_residues, device=number.device)
        return table


def shift(values: Tensor, offset: int, fill: float, dim: int = 0) -> Tensor:
    """Replace each entry i along ``dim`` by entry i + ``offset``, or by ``fill`` beyond the ends."""
    shifted = torch.full_like(values, fill)
    length = values.shape[dim] - abs(offset)
    if length > 0:
        source, target = max(offset, 0), max(-offset, 0)
        shifted.narrow(dim, target, length).copy_(values.narrow(dim, source, length))
    return shifted


def linked_residues(c_alpha: Tensor, chain_index: Tensor) -> Tensor:
    """Find which residues are bonded to their successor, as ``Topology.linked`` does without residue numbers.

    Parameters
    ----------
    c_alpha : Tensor, (frames, residues, 3)
        In nm. A distance outside the range of bonds in the first frame is a chain break.
    chain_index : Tensor, (residues,) int64
        Chain of each residue.

    Returns
    -------
    Tensor, (residues,) bool
        The last entry is always False.
    """
    distance = torch.linalg.vector_norm(c_alpha[0, 1:] - c_alpha[0, :-1], dim=-1)
    near = (distance > topology.MIN_LINKED_CA_DISTANCE_NM) & (distance < topology.MAX_LINKED_CA_DISTANCE_NM)
    linked = torch.zeros_like(chain_index, dtype=torch.bool)
    linked[:-1] = near & (chain_index[1:] == chain_index[:-1])
    return linked
