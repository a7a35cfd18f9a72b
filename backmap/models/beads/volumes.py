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


def add_volume_gradient(
    gradient: Tensor, atoms: Tensor, wanted: Tensor, centres: Tensor, stiffness: Tensor
) -> Tensor:
    """Add, in place, the gradient of ``stiffness (volume - wanted)^2``.

    Parameters
    ----------
    gradient : Tensor, (frames, residues * slots, 3)
        In kT/nm.
    atoms : Tensor, (frames, residues, slots, 3)
        In nm.
    wanted : Tensor, (frames, centres)
        In nm^3.
    centres : Tensor, (centres, 4) int64
        Flat indices of atoms, the centre first.
    stiffness : Tensor, (centres,)
        In kT/nm^6.
    """
    points = atoms.flatten(1, 2)[:, centres]
    first, second, third = (points[:, :, 1:] - points[:, :, :1]).unbind(dim=2)
    by_first = torch.linalg.cross(second, third, dim=-1)
    by_second = torch.linalg.cross(third, first, dim=-1)
    by_third = torch.linalg.cross(first, second, dim=-1)
    force = (2 * stiffness * ((by_third * third).sum(dim=-1) - wanted))[..., None]
    parts = torch.stack([-(by_first + by_second + by_third), by_first, by_second, by_third], dim=2)
    return gradient.index_add_(1, centres.flatten(), (force[:, :, None] * parts).flatten(1, 2))
