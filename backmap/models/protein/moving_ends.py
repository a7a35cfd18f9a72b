"""Chain ends of coherent frames: trial torsions that step in time, and carry their atoms along."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from backmap.models.chain import Chain
from backmap.models.protein.backbone import BackboneBuilder, chain_ends
from backmap.models.protein.basins import DRAWS, shares_of_angle, step_angle
from backmap.models.protein.geometry import classify_angle, place_atom, torsion_angle

END_DRAWS = DRAWS + 2
"""Random numbers per step and trial: for the torsion, the turn of the oxygens, and the carried direction."""


class EndTrials(NamedTuple):
    """Trial conformations of the chain ends.

    Attributes
    ----------
    torsion : Tensor, (samples, ends, trials)
        psi of a first residue or phi of a last one in radians, in the order of :func:`chain_ends`.
    turn : Tensor, (samples, ends, trials)
        Turn of the oxygens in radians.
    direction : Tensor, (samples, last residues, trials, 3)
        From CA to C in nm.
    """

    torsion: Tensor
    turn: Tensor
    direction: Tensor


def no_trials(samples: int, n_trials: int, chain: Chain) -> EndTrials:
    """Return trials that stand for no conformation, to be drawn anew."""
    starts, lasts = chain_ends(chain)
    zeros = torch.zeros(samples, len(starts) + len(lasts), n_trials, 3, device=chain.types.device)
    return EndTrials(zeros[..., 0], zeros[..., 0], zeros[:, : len(lasts)])


def step_ends(
    builder: BackboneBuilder,
    chain: Chain,
    c_alpha: Tensor,
    peptides: Tensor,
    before: EndTrials,
    rate: Tensor,
    window: Tensor,
    uniforms: Tensor,
) -> tuple[EndTrials, Tensor]:
    """Step trial conformations through frames.

    In simulations, C of the last residue keeps its direction when the peptide before it rocks, and phi
    changes instead. Such a change is proposed first, and accepted by Metropolis' rule. Torsions then step as
    all others do.

    Parameters
    ----------
    builder : BackboneBuilder
        Has the distributions and the geometry of ends.
    chain : Chain
        The sequence.
    c_alpha : Tensor, (samples, frames, residues, 3)
        In nm.
    peptides : Tensor, (samples, frames, residues, 3, 3)
        From :func:`backmap.models.protein.peptide_planes.place_peptides`.
    before : EndTrials
        Of the frame before.
    rate : Tensor, (frames, ends)
        Rate of leaving a basin times the interval.
    window : Tensor, (frames, ends)
        Width in radians of the window in which torsions that stay are drawn anew.
    uniforms : Tensor, (samples, frames, ends, trials, END_DRAWS)
        Random numbers in [0, 1).

    Returns
    -------
    EndTrials
        Of the last frame.
    Tensor, (samples, frames, ends, trials, 3)
        Random numbers in [0, 1) for which the backbone takes these conformations.
    """
    starts, lasts = chain_ends(chain)
    probabilities = builder.end_distributions(chain).unsqueeze(1)
    of_lasts = probabilities[len(starts) :]
    axis = c_alpha[:, :, lasts, None]
    c_before, n = (peptides[:, :, (lasts - 1).clamp_min(0), None, atom] for atom in (0, 2))
    torsion, turn, direction = before
    torsions, turns = [], []
    for frame in range(c_alpha.shape[1]):
        points = c_before[:, frame], n[:, frame], axis[:, frame]
        drawn = uniforms[:, frame]
        width = window[frame].unsqueeze(-1).expand_as(torsion)
        carried = torsion_angle(*points, points[2] + direction)
        phi = torsion[:, len(starts) :]
        accepted = drawn[:, len(starts) :, :, -1] * _at(of_lasts, phi) < _at(of_lasts, carried)
        torsion = torch.cat([torsion[:, : len(starts)], torch.where(accepted, carried, phi)], dim=1)
        leaving = rate[frame].unsqueeze(-1).expand_as(torsion)
        torsion, _ = step_angle(probabilities, torsion, leaving, width, drawn[..., :DRAWS])
        # All turns are equally probable.
        turn = turn + width.clamp_max(2 * math.pi) * (drawn[..., DRAWS] - 0.5)
        turn = torch.remainder(turn, 2 * math.pi)
        direction = (
            place_atom(*points, builder.c_length, builder.mean_angle, torsion[:, len(starts) :]) - points[2]
        )
        torsions.append(torsion)
        turns.append(turn)
    share, place = shares_of_angle(probabilities, torch.stack(torsions, dim=1))
    turned = (torch.stack(turns, dim=1) / (2 * math.pi)).clamp_max(1 - 2.0**-24)
    return EndTrials(torsion, turn, direction), torch.stack([share, place, turned], dim=-1)


def _at(probabilities: Tensor, angle: Tensor) -> Tensor:
    """Return the probabilities (...) of the bins of angles (...), from (ends, 1, bins)."""
    bins = probabilities.shape[-1]
    whole = probabilities.expand(*angle.shape, bins)
    return whole.gather(-1, classify_angle(angle, bins).unsqueeze(-1)).squeeze(-1)
