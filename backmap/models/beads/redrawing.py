"""Strained residues replaced by ones that were drawn again. Can be compiled by TorchScript."""

import torch
from torch import Tensor

from backmap.models.chain import Chain


def put_in_redrawn(atoms: Tensor, redrawn: Tensor, strained: Tensor, still: Tensor, chain: Chain) -> Tensor:
    """Put redrawn residues in the place of strained ones and of their neighbours, where they are sound.

    Parameters
    ----------
    atoms, redrawn : Tensor, (samples, frames, residues, 15, 3)
        In nm.
    strained, still : Tensor, (samples, frames, residues) bool
        Strained residues of either.
    chain : Chain
        The sequence.
    """
    around = _with_neighbours(strained & ~_with_neighbours(still, chain), chain)
    return torch.where(around[..., None, None], redrawn, atoms)


def _with_neighbours(marked: Tensor, chain: Chain, n_neighbours: int = 2) -> Tensor:
    """Return marked residues (samples, frames, residues) and ``n_neighbours`` on either side in the chain."""
    reached = marked
    for offset in range(-n_neighbours, n_neighbours + 1):
        reached = reached | (chain.shift(marked, offset, 0.0, 2) & chain.has_neighbour(offset))
    return reached
