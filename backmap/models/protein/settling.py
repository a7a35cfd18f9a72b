"""Relaxation of atoms built between given ones until bonds and bond angles fit. For TorchScript, too."""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from backmap.chemistry import ATOM_SLOTS, RESIDUE_INDEX, SLOT_C, SLOT_N
from backmap.chemistry.ideal_geometry import SLOT_PROLINE_CD, bond_table, ideal_geometry, span_tables
from backmap.models.chain import Chain

_STEPS = 120
_BOND_STEPS = 30
"""Final steps that consider bonds only, so that bonds fit where not everything can."""
_STRIDE = 1.4
"""Over-relaxation of each step. TorchScript reads constants from the defaults of arguments."""


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


class SpringFinder(nn.Module):
    """Finds the springs on atoms to move; has no parameters."""

    bonds: Tensor
    spans: Tensor
    peptide_bonds: Tensor
    peptide_spans: Tensor
    slots: Final = ATOM_SLOTS
    delta: Final = SLOT_PROLINE_CD
    proline: Final = RESIDUE_INDEX["PRO"]
    span_weight: Final = 0.3

    def __init__(self) -> None:
        super().__init__()
        within, across = span_tables()
        peptide = torch.full(across.shape, torch.nan)
        peptide[SLOT_C, SLOT_N] = ideal_geometry()["peptide"]["trans"]["C-N"]
        tables = {
            "bonds": torch.from_numpy(bond_table()).float(),
            "spans": torch.from_numpy(within).float(),
            "peptide_bonds": peptide,
            "peptide_spans": torch.from_numpy(across).float(),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def forward(self, moving: Tensor, standing: Tensor, chain: Chain) -> Springs:
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
        residue, slot = torch.nonzero(moving).unbind(dim=1)
        every = torch.arange(self.slots, device=moving.device)
        places = torch.arange(chain.n_residues, device=moving.device)
        lengths: list[Tensor] = []
        weights: list[Tensor] = []
        partners: list[Tensor] = []
        for offset in (0, -1, 1):
            bond, span = self._lengths(chain.types[residue], slot, offset)
            known = (
                chain.shift(standing, offset, 0.0, 0)[residue] & chain.has_neighbour(offset)[residue, None]
            )
            known = known & self._tied(residue, slot, chain, offset)
            bonded = bond.isfinite()
            weights.append((bonded + self.span_weight * (span.isfinite() & ~bonded)) * known)
            lengths.append(torch.where(bonded, bond, span).nan_to_num(1.0))
            other = chain.shift(places, offset, 0.0, 0)[residue]
            partners.append(other[:, None] * self.slots + every)
        weight, order = torch.cat(weights, dim=1).sort(dim=1, descending=True, stable=True)
        used = int((weight > 0).sum(dim=1).max()) if len(weight) > 0 else 0
        weight, order = weight[:, :used], order[:, :used]
        partner = torch.cat(partners, dim=1).gather(1, order)
        shares = torch.where(moving.flatten()[partner], 0.5, 1.0)
        length = torch.cat(lengths, dim=1).gather(1, order)
        return Springs(residue * self.slots + slot, partner, length, weight, shares)

    def _lengths(self, types: Tensor, slot: Tensor, offset: int) -> tuple[Tensor, Tensor]:
        """Return bonds and spans (n, 15) of atoms (n,) to those of the residue ``offset`` ahead."""
        if offset == 0:
            return self.bonds[types, slot], self.spans[types, slot]
        if offset < 0:
            return self.peptide_bonds.T[slot], self.peptide_spans.T[slot]
        return self.peptide_bonds[slot], self.peptide_spans[slot]

    def _tied(self, residue: Tensor, slot: Tensor, chain: Chain, offset: int) -> Tensor:
        """Return which pairs (n, 15) may be tied: N and the residue before are near CD in proline only."""
        ring = torch.arange(self.slots, device=slot.device) == self.delta
        proline = chain.types == self.proline
        if offset < 0:
            return (proline[residue] | ~ring[slot])[:, None]
        if offset > 0:
            return chain.shift(proline, 1, 0.0, 0)[residue, None] | ~ring
        return torch.ones_like(ring)


def settle(
    atoms: Tensor,
    springs: Springs,
    n_steps: int = _STEPS,
    n_bond_steps: int = _BOND_STEPS,
    stride: float = _STRIDE,
) -> Tensor:
    """Move atoms to satisfy their bonds and angles as well as possible.

    Each step moves each atom by the weighted mean of the moves that would satisfy each of its distances
    (Mueller, Heidelberger, Hennix and Ratcliff, J. Vis. Commun. Image Represent. 2007). Distances do not
    define handedness: atoms usually stay on the side on which they start.

    Parameters
    ----------
    atoms : Tensor, (..., residues, 15, 3)
        In nm.
    springs : Springs
        From :class:`SpringFinder`.
    n_steps, n_bond_steps : int
        Steps in all, and final ones that consider bonds only.
    stride : float
        Over-relaxation of each step.

    Returns
    -------
    Tensor, (..., residues, 15, 3)
        In nm; all other atoms are unchanged.
    """
    if len(springs.moved) == 0:
        return atoms
    flat = atoms.flatten(-3, -2).clone()
    for step in range(n_steps):
        weights = springs.weights
        if step >= n_steps - n_bond_steps:
            weights = torch.where(weights == 1.0, weights, 1e-3 * weights)
        apart, distance = _distances(flat, springs)
        pull = weights * springs.shares * (springs.lengths - distance) / distance
        move = torch.einsum("...mp,...mpx->...mx", pull, apart)
        total = weights.sum(dim=-1, keepdim=True).clamp_min(1e-6)
        flat.index_add_(-2, springs.moved, stride * move / total)
    return flat.view(atoms.shape)


def strain(atoms: Tensor, springs: Springs) -> Tensor:
    """Return the largest relative deviation of each moved atom's springs, (..., moved); angles count less."""
    _, distance = _distances(atoms.flatten(-3, -2), springs)
    return (springs.weights * (distance / springs.lengths - 1).abs()).amax(dim=-1)


def _distances(flat: Tensor, springs: Springs) -> tuple[Tensor, Tensor]:
    partners = flat.index_select(-2, springs.partners.flatten()).unflatten(-2, springs.partners.shape)
    apart = flat.index_select(-2, springs.moved).unsqueeze(-2) - partners
    return apart, torch.linalg.vector_norm(apart, dim=-1).clamp_min(1e-4)
