"""What coherent frames remember of the one before."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from backmap.chemistry.residues import MAX_CHI
from backmap.models.chain import Chain
from backmap.models.protein.moving_ends import EndTrials, no_trials


class CoherentState(NamedTuple):
    """What a frame needs of the one before it.

    Attributes
    ----------
    angles : Tensor, (samples, residues)
        Angles of the peptides in radians.
    twists : Tensor, (samples, residues, 2)
        Normal deviates of the twists.
    end_torsions, end_turns, end_directions : Tensor
        As in :class:`EndTrials`.
    end_choices : Tensor, (samples, ends) int64
        Trial that each chain end took.
    torsions : Tensor, (samples, residues, 4)
        Angles in radians about which the torsions of the side chains librate.
    mobilities : Tensor, (samples, residues, 5)
        Normal deviates of the logarithms of rates, of the peptide and of the torsions.
    """

    angles: Tensor
    twists: Tensor
    end_torsions: Tensor
    end_turns: Tensor
    end_directions: Tensor
    end_choices: Tensor
    torsions: Tensor
    mobilities: Tensor

    @property
    def end_trials(self) -> EndTrials:
        """Trial conformations of the chain ends."""
        return EndTrials(self.end_torsions, self.end_turns, self.end_directions)


def no_state(samples: int, end_candidates: int, chain: Chain) -> CoherentState:
    """Return the state before the first frame, of which nothing is remembered.

    Parameters
    ----------
    samples : int
        Number of structures per frame.
    end_candidates : int
        Number of trials of each chain end.
    chain : Chain
        The sequence.
    """
    zeros = torch.zeros(samples, chain.n_residues, MAX_CHI, device=chain.types.device)
    trials = no_trials(samples, end_candidates, chain)
    choices = torch.zeros_like(trials.turn[:, :, 0], dtype=torch.int64)
    mobilities = torch.cat([zeros, zeros[:, :, :1]], dim=2)
    return CoherentState(zeros[:, :, 0], zeros[:, :, :2], *trials, choices, zeros, mobilities)


def remember(state: Tensor, memory: Tensor, noise: Tensor) -> Tensor:
    """Return a stationary autoregression of normal deviates.

    Parameters
    ----------
    state : Tensor, (samples, ...)
        Deviates before the first frame.
    memory : Tensor, (frames, ...)
        Correlation of each frame with the one before; broadcasts against a frame of a sample.
    noise : Tensor, (samples, frames, ...)
        Independent normal deviates.

    Returns
    -------
    Tensor, (samples, frames, ...)
    """
    deviates = []
    fresh = (1 - memory.square()).sqrt()
    for frame in range(len(memory)):
        state = memory[frame] * state + fresh[frame] * noise[:, frame]
        deviates.append(state)
    return torch.stack(deviates, dim=1)
