"""Signed volumes that three bonds of an atom span, which keep hands and planes."""

from __future__ import annotations

import torch
from torch import Tensor


class Volumes:
    """Volumes of some atoms, and the gradient of the energy that keeps them.

    Parameters
    ----------
    centres : Tensor, (centres, 4) int64
        Flat indices of atoms, the centre first.
    stiffness : Tensor, (centres, 1)
        In kT/nm^6.
    """

    def __init__(self, centres: Tensor, stiffness: Tensor) -> None:
        self._ends = centres.T.flatten()  # all centres, then all first, second and third atoms
        self._stiffness = stiffness

    def of(self, atoms: Tensor) -> Tensor:
        """Return the volumes (frames, centres) in nm^3 of atoms (frames, residues, slots, 3)."""
        return self._volumes(atoms)[0]

    def add_gradient(self, gradient: Tensor, atoms: Tensor, volumes: Tensor) -> Tensor:
        """Add, in place, the gradient of ``stiffness (volume - volumes)^2``.

        Parameters
        ----------
        gradient : Tensor, (frames, residues * slots, 3)
            In kT/nm.
        atoms : Tensor, (frames, residues, slots, 3)
            In nm.
        volumes : Tensor, (frames, centres)
            From :meth:`of`, in nm^3.
        """
        found, outer = self._volumes(atoms)
        force = 2 * self._stiffness * (found - volumes)[..., None]
        parts = torch.cat([-(outer[0] + outer[1] + outer[2]), *outer], dim=1) * force.repeat(1, 4, 1)
        return gradient.index_add_(1, self._ends, parts)

    def _volumes(self, atoms: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return volumes, and how they change with the three outer atoms, (frames, centres, 3) in nm^2."""
        points = atoms.flatten(1, 2).index_select(1, self._ends).unflatten(1, (4, self._ends.shape[0] // 4))
        first, second, third = (points[:, 1:] - points[:, :1]).unbind(dim=1)
        pairs = (second, third), (third, first), (first, second)
        outer = [torch.linalg.cross(*pair, dim=-1) for pair in pairs]
        return (outer[2] * third).sum(dim=-1), outer
