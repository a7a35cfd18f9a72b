"""Bonds of fixed length in dynamics: SHAKE for positions, RATTLE for velocities."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BondConstraints(nn.Module):
    """Keeps distances of pairs of atoms.

    All pairs are corrected at once and repeatedly (Ryckaert, Ciccotti and Berendsen, J. Comput. Phys. 1977,
    23, 327; Andersen, J. Comput. Phys. 1983, 52, 24). That converges quickly where pairs share little more
    than a heavy atom, as the bonds to hydrogen do.

    Parameters
    ----------
    pairs : Tensor, (constraints, 2) int64
        Indices of atoms.
    lengths : Tensor, (constraints,)
        Their distances, nm.
    inverse_masses : Tensor, (atoms,)
        In 1/Da; 0 for an atom that does not move. At most one atom of a pair may be such.
    iterations : int
        Corrections made each time.
    """

    difference: Tensor
    spread: Tensor
    square: Tensor
    stiffness: Tensor

    def __init__(self, pairs: Tensor, lengths: Tensor, inverse_masses: Tensor, iterations: int = 10) -> None:
        super().__init__()
        dtype = inverse_masses.dtype
        difference = torch.zeros(len(pairs), len(inverse_masses), dtype=dtype)
        rows = torch.arange(len(pairs))
        difference[rows, pairs[:, 0]], difference[rows, pairs[:, 1]] = 1.0, -1.0
        self.iterations = iterations
        self.register_buffer("difference", difference, persistent=False)
        self.register_buffer("spread", difference.T * inverse_masses[:, None], persistent=False)
        self.register_buffer("square", lengths.to(dtype).square(), persistent=False)
        self.register_buffer("stiffness", inverse_masses[pairs].sum(dim=1), persistent=False)

    def positions(self, moved: Tensor, before: Tensor) -> Tensor:
        """Bring pairs to their distances.

        Parameters
        ----------
        moved : Tensor, (batch, atoms, 3)
            Positions after a step, nm.
        before : Tensor, (batch, atoms, 3)
            Positions before it: forces of constraint act along the bonds as they were.
        """
        along = self.difference @ before
        for _ in range(self.iterations):
            bond = self.difference @ moved
            excess = self.square - bond.square().sum(dim=-1)
            share = excess / (2 * self.stiffness * (bond * along).sum(dim=-1))
            moved = moved + self.spread @ (share.unsqueeze(-1) * along)
        return moved

    def velocities(self, velocities: Tensor, positions: Tensor) -> Tensor:
        """Take away the velocities (batch, atoms, 3) that would stretch the pairs at positions."""
        bond = self.difference @ positions
        weight = 1 / (self.stiffness * bond.square().sum(dim=-1))
        for _ in range(self.iterations):
            stretching = (bond * (self.difference @ velocities)).sum(dim=-1)
            velocities = velocities - self.spread @ ((weight * stretching).unsqueeze(-1) * bond)
        return velocities
