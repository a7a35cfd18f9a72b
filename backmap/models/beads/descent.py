"""Shared by fits of proteins and nucleic acids to their beads: the descent, its gradient, strained bonds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

STRAINED_BOND = 0.10
"""A bond is strained if its length deviates from the ideal by more than this fraction of it."""

_MOMENTUM = 0.9
_LARGEST_STEP_NM = 0.01


def descend(
    start: Tensor,
    gradient: Callable[[Tensor], Tensor],
    onto_beads: Callable[[Tensor], Tensor],
    n_steps: int,
    step_size_nm2: float,
) -> Tensor:
    """Let an energy fall along its gradient with momentum (Nesterov), with beads as constraints.

    Parameters
    ----------
    start : Tensor, (..., 3)
        Atoms on their beads, in nm.
    gradient : callable
        Gradient in kT/nm at positions (..., 3).
    onto_beads : callable
        Brings positions (..., 3) onto their beads.
    n_steps : int
        Number of steps.
    step_size_nm2 : float
        Step along the force in kT/nm.

    Returns
    -------
    Tensor, (..., 3)
        In nm.
    """
    position = ahead = before = start
    for _ in range(n_steps):
        step = -step_size_nm2 * gradient(ahead)
        length = torch.linalg.vector_norm(step, dim=-1, keepdim=True).clamp_min(1e-12)
        step = step * (length.clamp_max(_LARGEST_STEP_NM) / length)
        position = onto_beads(ahead + step)
        ahead = position + _MOMENTUM * (position - before)
        before = position
    return position


def penalty_gradient(
    atoms: Tensor, terms: Mapping[str, Tensor], stiffness: tuple[float, float, float], box: Tensor | None
) -> Tensor:
    """Return the gradient of bonds, distances and overlaps in kT/nm; their energy itself is not needed.

    Parameters
    ----------
    atoms : Tensor, (frames, residues, slots, 3)
        In nm.
    terms : mapping of str to Tensor
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
        *stiffness,
        1.0,
        box,
    )


def strained_bonds(atoms: Tensor, terms: Mapping[str, Tensor]) -> Tensor:
    """Return which residues (..., residues) have a strained bond in atoms (..., residues, slots, 3).

    ``terms`` contains ``bonds`` (bonds, 2) int64, as flat indices of atoms, and ``bond_lengths`` in nm.
    """
    bonds, lengths = terms["bonds"], terms["bond_lengths"]
    ends = atoms.flatten(-3, -2)[..., bonds, :]
    found = torch.linalg.vector_norm(ends[..., 1, :] - ends[..., 0, :], dim=-1)
    off = (found / lengths - 1).abs() > STRAINED_BOND
    number = torch.zeros(atoms.shape[:-2], dtype=torch.int64, device=atoms.device)
    for end in torch.div(bonds, atoms.shape[-2], rounding_mode="floor").unbind(dim=1):
        number.index_add_(-1, end, off.long())
    return number > 0
