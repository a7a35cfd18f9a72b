"""Shared by fits of proteins and nucleic acids to their beads: momentum, gradients, volumes, strained bonds.

Can be compiled by TorchScript, which reads constants from the defaults of arguments.
"""

import torch
from torch import Tensor

STRAINED_BOND = 0.10
"""A bond is strained if its length deviates from the ideal by more than this fraction of it."""

MOMENTUM = 0.9
"""Share of the last motion by which a descent looks ahead (Nesterov)."""

LARGEST_STEP_NM = 0.01


def look_ahead(position: Tensor, before: Tensor, momentum: float = MOMENTUM) -> Tensor:
    """Return where the motion from ``before`` to ``position`` leads, and where the next gradient is taken."""
    return position + momentum * (position - before)


def volumes(atoms: Tensor, centres: Tensor) -> Tensor:
    """Return the signed volumes (frames, centres) in nm^3 that three bonds of an atom span.

    They keep hands and planes.

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


def penalty_gradient(
    atoms: Tensor, terms: dict[str, Tensor], stiffness: tuple[float, float, float], box: Tensor | None
) -> Tensor:
    """Return the gradient of bonds, distances and overlaps in kT/nm; their energy itself is not needed.

    Parameters
    ----------
    atoms : Tensor, (frames, residues, slots, 3)
        In nm.
    terms : dict of str to Tensor
        Arguments of :func:`backmap.ops.structure_penalty` by their names, and ``present``.
    stiffness : tuple of float
        Of bonds, distances and overlaps in kT/nm^2.
    box : Tensor, (frames, 3, 3), optional
        Periodic boxes.
    """
    return torch.ops.backmap.structure_penalty_backward(
        atoms.new_ones(len(atoms), 3),
        atoms,
        terms["present"],
        terms["bonds"],
        terms["bond_lengths"],
        terms["angle_ends"],
        terms["angle_spans"],
        terms["radii"],
        terms["exclusion_start"],
        terms["exclusions"],
        stiffness[0],
        stiffness[1],
        stiffness[2],
        1.0,
        box,
    )


def pair_distances(atoms: Tensor, pairs: Tensor) -> Tensor:
    """Return the distances (..., pairs) in nm of pairs (pairs, 2) of atoms (..., residues, slots, 3)."""
    ends = atoms.flatten(-3, -2).index_select(-2, pairs.flatten()).unflatten(-2, pairs.shape)
    return torch.linalg.vector_norm(ends[..., 1, :] - ends[..., 0, :], dim=-1)


def strained_bonds(atoms: Tensor, terms: dict[str, Tensor], strained_share: float = STRAINED_BOND) -> Tensor:
    """Return which residues (..., residues) have a strained bond in atoms (..., residues, slots, 3).

    ``terms`` contains ``bonds`` (bonds, 2) int64, as flat indices of atoms, and ``bond_lengths`` in nm.
    """
    bonds, lengths = terms["bonds"], terms["bond_lengths"]
    off = (pair_distances(atoms, bonds) / lengths - 1).abs() > strained_share
    number = torch.zeros(atoms.shape[:-2], dtype=torch.int64, device=atoms.device)
    for end in torch.div(bonds, atoms.shape[-2], rounding_mode="floor").unbind(dim=1):
        number.index_add_(-1, end, off.long())
    return number > 0
