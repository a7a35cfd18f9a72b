"""Bonds of fixed length in dynamics: SHAKE for positions and RATTLE for velocities."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BondConstraints(nn.Module):
    """Keeps pairs of atoms at fixed distances.

    All pairs are corrected at once, repeatedly (Ryckaert, Ciccotti and Berendsen, J. Comput. Phys. 1977,
    23, 327; Andersen, J. Comput. Phys. 1983, 52, 24). This converges quickly where pairs share at most a
    heavy atom, as bonds to hydrogen do.

    Parameters
    ----------
    pairs : Tensor, (constraints, 2) int64
        Indices of atoms.
    lengths : Tensor, (constraints,)
        Their distances in nm.
    inverse_masses : Tensor, (atoms,)
        In 1/Da; 0 for an atom that does not move. At most one atom of a pair may be fixed.
    iterations : int
        Corrections per call.
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
        """Restore the distances of all pairs.

        Parameters
        ----------
        moved : Tensor, (batch, atoms, 3)
            Positions after a step, in nm.
        before : Tensor, (batch, atoms, 3)
            Positions before the step; constraint forces act along the bonds of these positions.
        """
        along = self.difference @ before
        for _ in range(self.iterations):
            bond = self.difference @ moved
            excess = self.square - bond.square().sum(dim=-1)
            share = excess / (2 * self.stiffness * (bond * along).sum(dim=-1))
            moved = moved + self.spread @ (share.unsqueeze(-1) * along)
        return moved

    def velocities(self, velocities: Tensor, positions: Tensor) -> Tensor:
        """Remove the parts of velocities (batch, atoms, 3) that would stretch the pairs."""
        bond = self.difference @ positions
        weight = 1 / (self.stiffness * bond.square().sum(dim=-1))
        for _ in range(self.iterations):
            stretching = (bond * (self.difference @ velocities)).sum(dim=-1)
            velocities = velocities - self.spread @ ((weight * stretching).unsqueeze(-1) * bond)
        return velocities
