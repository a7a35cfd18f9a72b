"""Candidate side chains chosen by how well they explain the beads."""

from __future__ import annotations

import torch
from torch import Tensor

from backmap.chemistry import SIDE_CHAIN, SLOT_CB
from backmap.models.beads.evidence import BeadEvidence

CANDIDATES_PER_CHOICE = 3
"""Candidates drawn for each one that is left to choose from by overlaps."""

MISFIT_NM = 0.02
"""Deviation of a bead that the fit of atoms to beads removes without strain."""


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
    table = beads.table
    seen = (table.weights[:, SIDE_CHAIN] > 0).any(dim=1)
    rows, weights = table.residues[seen], table.weights[seen]
    own = torch.einsum("bs,fbcsx->fbcx", weights[:, SIDE_CHAIN], candidates[:, rows])
    fixed = torch.einsum("bs,fbsx->fbx", weights[:, :SLOT_CB], backbone[:, rows])
    squared = (own + (fixed - beads.positions[:, seen])[:, :, None]).square().sum(dim=-1)
    variance = MISFIT_NM**2 + beads.tolerance_nm[:, None, None].square()
    energy = candidates.new_zeros(candidates.shape[:3]).index_add(1, rows, squared / (2 * variance))
    cumulative = torch.softmax(-energy, dim=-1).cumsum(dim=-1)
    steps = (torch.arange(number, device=uniforms.device) + uniforms[..., None]) / number
    chosen = torch.searchsorted(cumulative, steps).clamp_max(candidates.shape[2] - 1)
    return candidates.gather(2, chosen[..., None, None].expand(-1, -1, -1, *candidates.shape[3:]))
