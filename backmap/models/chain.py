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
        Whether a residue is bonded to the next one of its chain. If the last residue of a chain is, it is
        bonded to the first: the chain is a ring, and has no breaks.

    Attributes
    ----------
    following : Tensor, (residues,) int64
        The residue at C of each; -1 without.
    closing : Tensor, (residues,) bool
        Last residues of rings.
    in_ring : Tensor, (residues,) bool
        Residues of rings.
    """

    def __init__(self, types: Tensor, chain_index: Tensor, linked: Tensor) -> None:
        self.types = types
        self.chain_index = chain_index
        self.linked = linked
        last = torch.ones_like(linked)
        last[:-1] = chain_index[1:] != chain_index[:-1]
        number = torch.cumsum(last, dim=0) - last.long()
        lengths = torch.bincount(number)
        starts = lengths.cumsum(0) - lengths
        self.closing = linked & last
        self.in_ring = self.closing[starts + lengths - 1][number]
        places = torch.arange(1, len(linked) + 1, device=linked.device)
        self.following = torch.where(linked, torch.where(last, starts[number], places), -1)
        self._start, self._length = starts[number], lengths[number]  # of the chain of each residue
        self._members = torch.nonzero(self.in_ring).squeeze(-1)

    @classmethod
    @torch.jit.unused
    def from_arrays(
        cls, types: np.ndarray, chain_index: np.ndarray, linked: np.ndarray, device: torch.device | str
    ) -> Chain:
        """Create a chain from arrays (residues,)."""
        arrays = (types, chain_index, linked)
        return cls(*(torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays))

    def opened(self) -> Chain:
        """Return the same residues, without the bonds that close rings."""
        return Chain(self.types, self.chain_index, self.linked & ~self.closing)

    @property
    def n_residues(self) -> int:
        """Number of residues."""
        return self.types.shape[0]

    def has_neighbour(self, offset: int) -> Tensor:
        """Return where (residues,) the residues i ... i + offset are bonded without a break."""
        reached, linked = torch.ones_like(self.linked), self.linked & ~self.closing
        # TorchScript does not know the default of ``dim`` here.
        for step in range(abs(offset)):
            reached &= self.shift(linked, step if offset > 0 else -step - 1, 0.0, 0)
        return reached | self.in_ring

    def neighbour_types(self, offset: int) -> Tensor:
        """Return the types (residues,) of residues i + offset, ``NO_RESIDUE`` beyond an end or a break."""
        types = self.shift(self.types, offset, 0.0, 0)
        return torch.where(self.has_neighbour(offset), types, chemistry.NO_RESIDUE)

    def shift(self, values: Tensor, offset: int, fill: float, dim: int = 0) -> Tensor:
        """Replace each entry i along ``dim`` by entry i + ``offset``, or by ``fill`` beyond the ends.

        In a ring, the first residue follows the last.
        """
        shifted = torch.full_like(values, fill)
        length = values.shape[dim] - abs(offset)
        if length > 0:
            source, target = max(offset, 0), max(-offset, 0)
            shifted.narrow(dim, target, length).copy_(values.narrow(dim, source, length))
        rows = self._members
        if rows.shape[0] > 0:
            place = torch.remainder(rows - self._start[rows] + offset, self._length[rows])
            shifted.index_copy_(dim, rows, values.index_select(dim, self._start[rows] + place))
        return shifted

    def steps_between(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the steps from residues to others of their chains, in a ring the shorter way round."""
        steps = second - first
        if self._members.shape[0] == 0:
            return steps
        half = torch.div(self._length[first], 2, rounding_mode="floor")
        around = torch.remainder(steps + half, self._length[first]) - half
        return torch.where(self.in_ring[first], around, steps)

    def segments(self) -> Tensor:
        """Return the residues (segments, longest) of each unbroken run, longest first, padded with -1.

        Rings are not among them.
        """
        rows = torch.nonzero(~self.in_ring).squeeze(-1)
        number = torch.cumsum(~self.has_neighbour(-1)[rows], dim=0) - 1
        lengths = torch.bincount(number)
        place = torch.arange(len(rows), device=rows.device) - (lengths.cumsum(0) - lengths)[number]
        longest = int(lengths.max()) if len(rows) > 0 else 0
        table = number.new_full((len(lengths), longest), -1)
        rank = torch.argsort(torch.argsort(lengths, descending=True, stable=True))
        table[rank[number], place] = rows
        return table

    def rings(self) -> list[Tensor]:
        """Return the residues (rings, length) of all rings of each length."""
        found: list[Tensor] = []
        lengths = self._length[self._members]
        for length in torch.unique(lengths):
            found.append(self._members[lengths == length].unflatten(0, [-1, int(length)]))
        return found


def linked_residues(points: Tensor, chain_index: Tensor, reach_nm: float = 0.0) -> Tensor:
    """Find which residues are bonded to their successor, as ``Topology.linked`` does without residue numbers.

    Parameters
    ----------
    points : Tensor, (frames, residues, 3)
        C-alphas, or main beads, in nm. A distance outside the range of bonds in the first frame is a chain
        break.
    chain_index : Tensor, (residues,) int64
        Chain of each residue.
    reach_nm : float
        How much farther apart than C-alphas main beads may be; they may also be as near as can be.

    Returns
    -------
    Tensor, (residues,) bool
        The last entry is always False.
    """
    distance = torch.linalg.vector_norm(points[0, 1:] - points[0, :-1], dim=-1)
    near = distance < topology.MAX_LINKED_CA_DISTANCE_NM + reach_nm
    if reach_nm == 0.0:
        near = near & (distance > topology.MIN_LINKED_CA_DISTANCE_NM)
    linked = torch.zeros_like(chain_index, dtype=torch.bool)
    linked[:-1] = near & (chain_index[1:] == chain_index[:-1])
    return linked
