"""Candidate side chains and chain ends chosen by how well they explain the beads. For TorchScript, too."""

import torch
from torch import Tensor

from backmap import chemistry
from backmap.models.beads.evidence import BeadEvidence, weighted_sum

CANDIDATES_PER_CHOICE = 3
"""Candidates drawn for each one that is left to choose from by overlaps."""

MISFIT_NM = 0.01
"""Deviation of a bead that the fit of atoms to beads removes without strain."""

_AHEAD_PER_BOND_NM, _SPREAD_PER_BOND_NM = 0.06, 0.08
"""Where side-chain atoms are if their torsions are unknown: beyond CB by so much for each bond between
them, and with what spread. TorchScript reads constants from the defaults of arguments."""


def choose_by_beads(
    candidates: Tensor, backbone: Tensor, beads: BeadEvidence, uniforms: Tensor, number: int
) -> Tensor:
    """Draw some of the candidates of each residue with the likelihood of their beads.

    Parameters
    ----------
    candidates : Tensor, (frames, residues, candidates, 10, 3)
        Side-chain atoms in nm.
    backbone : Tensor, (frames, residues, 4, 3)
        N, CA, C, O in nm.
    beads : BeadEvidence
        The beads of the same frames.
    uniforms : Tensor, (frames, residues)
        Random numbers in [0, 1).
    number : int
        Candidates to draw.

    Returns
    -------
    Tensor, (frames, residues, number, 10, 3)
        The same candidate several times where it explains the beads much better than others.
    """
    chosen = draw_by_misfit(misfit_of_candidates(candidates, backbone, beads), uniforms, number)
    return candidates.gather(2, chosen[..., None, None].expand(-1, -1, -1, candidates.shape[3], 3))


def draw_by_misfit(misfit: Tensor, uniforms: Tensor, number: int) -> Tensor:
    """Draw indices (..., number) of candidates with misfits (..., candidates), from uniforms (...)."""
    cumulative = torch.softmax(-misfit, dim=-1).cumsum(dim=-1)
    steps = (torch.arange(number, device=uniforms.device) + uniforms[..., None]) / number
    return torch.searchsorted(cumulative, steps).clamp_max(misfit.shape[-1] - 1)


def misfit_of_candidates(
    candidates: Tensor, backbone: Tensor, beads: BeadEvidence, misfit_nm: float = MISFIT_NM
) -> Tensor:
    """Return the negative log-likelihood (frames, residues, candidates) of the beads for side chains.

    Arguments are as for :func:`choose_by_beads`; beads may be ``misfit_nm`` off.
    """
    table = beads.table
    first, last = chemistry.SLOT_CB, chemistry.SLOT_OXT
    seen = (table.weights[:, first:last] > 0).any(dim=1)
    rows, weights = table.residues[seen], table.weights[seen]
    own = weighted_sum(weights[:, None, first:last], candidates[:, rows])
    fixed = weighted_sum(weights[:, :first], backbone[:, rows])
    squared = (own + (fixed - beads.positions[:, seen])[:, :, None]).square().sum(dim=-1)
    variance = misfit_nm**2 + beads.noise_nm[:, None, None].square()
    return torch.zeros_like(candidates[:, :, :, 0, 0]).index_add(1, rows, squared / (2 * variance))


def misfit_of_ends(
    backbone: Tensor,
    c_beta: Tensor,
    bonds_from_beta: Tensor,
    residues: Tensor,
    beads: BeadEvidence,
    misfit_nm: float = MISFIT_NM,
    ahead_per_bond_nm: float = _AHEAD_PER_BOND_NM,
    spread_per_bond_nm: float = _SPREAD_PER_BOND_NM,
) -> Tensor:
    """Return the negative log-likelihood of the beads of some residues, before their side chains are built.

    Parameters
    ----------
    backbone : Tensor, (frames, ends, trials, 4, 3)
        N, CA, C, O in nm.
    c_beta : Tensor, (frames, ends, trials, 3)
        In nm.
    bonds_from_beta : Tensor, (ends, 15) int64
        Bonds from CB to each atom after it.
    residues : Tensor, (ends,) int64
        The residues, ascending.
    beads : BeadEvidence
        The beads of the same frames.
    misfit_nm : float
        As for :func:`misfit_of_candidates`.
    ahead_per_bond_nm, spread_per_bond_nm : float
        Where side-chain atoms are beyond CB for each bond between them, and with what spread.

    Returns
    -------
    Tensor, (frames, ends, trials)
    """
    table, beta = beads.table, chemistry.SLOT_CB
    seen = torch.isin(table.residues, residues)
    place = torch.searchsorted(residues, table.residues[seen])
    weights, bonds = table.weights[seen], bonds_from_beta[place].to(c_beta.dtype)
    toward = c_beta - backbone[..., chemistry.SLOT_CA, :]
    toward = toward / torch.linalg.vector_norm(toward, dim=-1, keepdim=True).clamp_min(1e-6)
    ahead = (weights * bonds).sum(dim=1) * ahead_per_bond_nm
    image = weighted_sum(weights[:, None, :beta], backbone[:, place])
    image = image + weights[:, beta:].sum(dim=1)[:, None, None] * c_beta[:, place]
    image = image + ahead[:, None, None] * toward[:, place]
    squared = (image - beads.positions[:, seen, None]).square().sum(dim=-1)
    spread = (weights * bonds).square().sum(dim=1) * spread_per_bond_nm**2
    variance = misfit_nm**2 + spread[:, None] + beads.noise_nm[:, None, None].square()
    energy = torch.zeros_like(c_beta[..., 0])
    return energy.index_add(1, place, squared / (2 * variance))
