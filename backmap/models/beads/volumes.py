"""Signed volumes that three bonds of an atom span, which keep hands and planes."""

import torch
from torch import Tensor


def volumes(atoms: Tensor, centres: Tensor) -> Tensor:
    """Return signed volumes (frames, centres) in nm^3.

    Parameters
    ----------
    atoms : Tensor, (frames, residues, slots, 3)
        In nm.
    centres : Tensor, (centres, 4) int64
        Flat indices of atoms, the centre first.
    """
    points = atoms.flatten(1, 2)[:, centres]
    first, second, third = (points[:, :, 1:] - points[:, :, :1]).unbind(dim=2)
    return (torch.linalg.cross(first, second, dim=-1) * third).sum(dim=-1)


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
        found, first, second, third = self._volumes(atoms)
        force = 2 * self._stiffness * (found - volumes)[..., None]
        parts = torch.cat([-(first + second + third), first, second, third], dim=1)
        return gradient.index_add_(1, self._ends, parts * force.repeat(1, 4, 1))

    def _volumes(self, atoms: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return volumes, and how they change with the three outer atoms, (frames, centres, 3) in nm^2."""
        points = atoms.flatten(1, 2).index_select(1, self._ends).unflatten(1, (4, self._ends.shape[0] // 4))
        away = points[:, 1:] - points[:, :1]
        first, second, third = away[:, 0], away[:, 1], away[:, 2]
        by_first = torch.linalg.cross(second, third, dim=-1)
        by_second = torch.linalg.cross(third, first, dim=-1)
        by_third = torch.linalg.cross(first, second, dim=-1)
        return (by_third * third).sum(dim=-1), by_first, by_second, by_third
