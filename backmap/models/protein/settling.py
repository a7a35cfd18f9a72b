"""Relaxation of atoms built between given ones until bonds and bond angles fit."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from backmap.chemistry import ATOM_SLOTS, RESIDUE_INDEX, SLOT_C, SLOT_N
from backmap.chemistry.ideal_geometry import SLOT_PROLINE_CD, bond_table, ideal_geometry, span_tables
from backmap.models.chain import Chain

_STEPS = 120
_BOND_STEPS = 30
"""Final steps that consider bonds only, so that bonds fit where not everything can."""
_SPAN_WEIGHT = 0.3
_STRIDE = 1.4
"""Over-relaxation of each step."""


class Springs(NamedTuple):
    """Springs on the atoms to move: bonds and distances across bond angles, the same in all frames.

    Attributes
    ----------
    moved : Tensor, (moved,) int64
        Flat atom indices ``residue * 15 + slot``.
    partners : Tensor, (moved, partners) int64
        Flat indices of the atoms at the other ends of the springs.
    lengths : Tensor, (moved, partners)
        Distances in nm.
    weights : Tensor, (moved, partners)
        1 for a bond, less for a distance across an angle, 0 for padding.
    shares : Tensor, (moved, partners)
        Fraction of a deviation that the moved atom corrects: half if the partner moves too.
    """

    moved: Tensor
    partners: Tensor
    lengths: Tensor
    weights: Tensor
    shares: Tensor


def find_springs(moving: Tensor, standing: Tensor, chain: Chain) -> Springs:
    """Find the springs on the atoms to move.

    Parameters
    ----------
    moving : Tensor, (residues, 15) bool
        Atoms to move.
    standing : Tensor, (residues, 15) bool
        Atoms that have positions, including those to move.
    chain : Chain
        The sequence.
    """
    device = moving.device
    residue, slot = torch.nonzero(moving).unbind(dim=1)
    types, linked = chain.types[residue], chain.linked
    there = (standing, chain.shift(standing, -1, False), chain.shift(standing, 1, False))
    bonded = (torch.ones_like(linked), chain.has_neighbour(-1), linked)
    # The slot of CD is bonded to N in proline only, and tied to the previous residue only there.
    ring = torch.arange(ATOM_SLOTS, device=device) == SLOT_PROLINE_CD
    proline = chain.types == RESIDUE_INDEX["PRO"]
    tied = (
        torch.ones(len(residue), ATOM_SLOTS, dtype=torch.bool, device=device),
        (proline[residue] | ~ring[slot])[:, None],
        chain.shift(proline, 1, False)[residue, None] | ~ring,
    )
    lengths, weights, partners = [], [], []
    places = torch.arange(chain.n_residues, device=device)
    for (bonds, spans), offset, atoms, joined, allowed in zip(
        _tables(device), (0, -1, 1), there, bonded, tied, strict=True
    ):
        bond, span = (table[types, slot] if table.dim() == 3 else table[slot] for table in (bonds, spans))
        known = atoms[residue] & joined[residue, None] & allowed
        weights.append((bond.isfinite() + _SPAN_WEIGHT * (span.isfinite() & ~bond.isfinite())) * known)
        lengths.append(torch.where(bond.isfinite(), bond, span).nan_to_num(1.0))
        other = chain.shift(places, offset, 0)[residue]
        partners.append(other[:, None] * ATOM_SLOTS + torch.arange(ATOM_SLOTS, device=device))
    weight, order = torch.cat(weights, dim=1).sort(dim=1, descending=True, stable=True)
    used = int((weight > 0).sum(dim=1).max()) if len(weight) else 0
    weight, order = weight[:, :used], order[:, :used]
    partner = torch.cat(partners, dim=1).gather(1, order)
    shares = torch.where(moving.flatten()[partner], 0.5, 1.0)
    return Springs(
        residue * ATOM_SLOTS + slot, partner, torch.cat(lengths, dim=1).gather(1, order), weight, shares
    )


def _tables(device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Return bonds and spans within a residue (20, 15, 15), and to the previous and next ones (15, 15)."""
    within, across = span_tables()
    bonds, spans, forward = (torch.from_numpy(t).float().to(device) for t in (bond_table(), within, across))
    peptide = torch.full_like(forward, torch.nan)
    peptide[SLOT_C, SLOT_N] = ideal_geometry()["peptide"]["trans"]["C-N"]
    return [(bonds, spans), (peptide.T, forward.T), (peptide, forward)]


def settle(atoms: Tensor, springs: Springs) -> Tensor:
    """Move atoms to satisfy their bonds and angles as well as possible.

    Each step moves each atom by the weighted mean of the moves that would satisfy each of its distances
    (Mueller, Heidelberger, Hennix and Ratcliff, J. Vis. Commun. Image Represent. 2007). Distances do not
    define handedness: atoms usually stay on the side on which they start.

    Parameters
    ----------
    atoms : Tensor, (..., residues, 15, 3)
        In nm.
    springs : Springs
        From :func:`find_springs`.

    Returns
    -------
    Tensor, (..., residues, 15, 3)
        In nm; all other atoms are unchanged.
    """
    if len(springs.moved) == 0:
        return atoms
    flat = atoms.flatten(-3, -2).clone()
    for step in range(_STEPS):
        weights = springs.weights
        if step >= _STEPS - _BOND_STEPS:
            weights = torch.where(weights == 1.0, weights, 1e-3 * weights)
        apart, distance = _distances(flat, springs)
        pull = weights * springs.shares * (springs.lengths - distance) / distance
        move = torch.einsum("...mp,...mpx->...mx", pull, apart)
        total = weights.sum(dim=-1, keepdim=True).clamp_min(1e-6)
        flat[..., springs.moved, :] += _STRIDE * move / total
    return flat.view(atoms.shape)


def strain(atoms: Tensor, springs: Springs) -> Tensor:
    """Return the largest relative deviation of each moved atom's springs, (..., moved); angles count less."""
    _, distance = _distances(atoms.flatten(-3, -2), springs)
    return (springs.weights * (distance / springs.lengths - 1).abs()).amax(dim=-1)


def _distances(flat: Tensor, springs: Springs) -> tuple[Tensor, Tensor]:
    apart = flat[..., springs.moved, None, :] - flat[..., springs.partners, :]
    return apart, apart.norm(dim=-1).clamp_min(1e-4)
