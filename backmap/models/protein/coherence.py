"""Coherent frames: each is drawn given the one before, by a step that keeps the model's distribution.

With C-alphas at rest, every torsion moves by :func:`backmap.models.protein.basins.step_angle`, which leaves
the model's distribution unchanged. How long torsions remember was measured in simulations
(:mod:`backmap.training.coherence`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from backmap.chemistry.residues import MAX_CHI
from backmap.models.beads.evidence import BeadEvidence
from backmap.models.chain import Chain
from backmap.models.counter_random import uniform
from backmap.models.protein.basins import normal_deviates
from backmap.models.protein.coherence_rates import LONG_AGO_PS, CoherenceRates
from backmap.models.protein.coherent_backbone import CoherentBackbone
from backmap.models.protein.coherent_side_chains import CoherentSideChains
from backmap.models.protein.coherent_state import CoherentState, no_state, remember
from backmap.models.protein.given_atoms import Given, keep_given
from backmap.models.protein.model import ProteinModel, counters
from backmap.models.protein.obstacles import Obstacles

MOBILITY_PS = 1000.0
"""How long a torsion stays more or less mobile than others; longer than the simulations that were fitted."""


class CoherentDrawer:
    """Draws the frames of a trajectory, each given the one before.

    Parameters
    ----------
    model : ProteinModel
        Gives the distributions.
    rates : CoherenceRates
        How fast they are sampled.
    """

    mobility_stream = 24
    """Purpose of the random numbers of mobilities, beside those of the model and of its parts."""

    def __init__(self, model: ProteinModel, rates: CoherenceRates) -> None:
        self.model, self.rates = model, rates
        self._backbone = CoherentBackbone(model, rates)
        self._side_chains = CoherentSideChains(model, rates)

    def draw(
        self,
        c_alpha: Tensor,
        chain: Chain,
        keys: Tensor,
        steady_keys: Tensor,
        intervals: Tensor,
        state: CoherentState | None = None,
        box: Tensor | None = None,
        disulfides: Tensor | None = None,
        obstacles: Obstacles | None = None,
        beads: BeadEvidence | None = None,
        given: Given | None = None,
    ) -> tuple[Tensor, CoherentState]:
        """Draw successive frames.

        Parameters
        ----------
        c_alpha : Tensor, (frames, residues, 3) or (samples, frames, residues, 3) float32
            In nm.
        chain : Chain
            The sequence.
        keys : Tensor, (samples, frames) int64
            Random streams, from :func:`backmap.models.counter_random.stream_keys`.
        steady_keys : Tensor, (samples,) int64
            Random streams that are the same for all frames of a trajectory.
        intervals : Tensor, (frames, residues)
            Time in ps since the frame before; very long where that is not remembered.
        state : CoherentState, optional
            From the frame before the first one; without it, the first frame is drawn on its own.
        box, disulfides, obstacles, beads, given
            As for :meth:`ProteinModel.draw`.

        Returns
        -------
        Tensor, (samples, frames, residues, 15, 3)
            Atoms in nm, as from :meth:`ProteinModel.draw`.
        CoherentState
            For the next frame.
        """
        samples, n_frames = keys.shape
        intervals = torch.where(intervals < LONG_AGO_PS, intervals * self.rates.time_scale, LONG_AGO_PS)
        if state is None:
            state = no_state(samples, self.model.backbone.candidates, chain)
            intervals = torch.cat([torch.full_like(intervals[:1], LONG_AGO_PS), intervals[1:]])
        if c_alpha.dim() == 3:
            c_alpha = c_alpha.unsqueeze(0)
        given = None if given is None else self.model.usable(given, chain)
        if given is not None and len(c_alpha) != 1:
            raise ValueError("given atoms need the same C-alphas in all samples")
        drawn = uniform(keys, self.mobility_stream, counters([chain.n_residues, 1 + MAX_CHI], keys))
        memory = torch.exp(-intervals / MOBILITY_PS).unsqueeze(-1)
        mobilities = remember(state.mobilities, memory, normal_deviates(drawn))
        backbone, after = self._backbone.draw(
            c_alpha, chain, keys, intervals, mobilities[..., 0], state, box, beads, given
        )
        side_chains, torsions = self._side_chains.draw(
            backbone,
            chain,
            keys,
            steady_keys,
            intervals,
            mobilities[..., 1:],
            state.torsions,
            box,
            disulfides,
            obstacles,
            beads,
            given,
        )
        oxt = backbone.terminal_oxygen.unflatten(0, keys.shape).unsqueeze(3)
        atoms = torch.cat([backbone.atoms.unflatten(0, keys.shape), side_chains, oxt], dim=3)
        if given is not None:
            atoms = keep_given(given, atoms, 0, atoms.shape[3])
        return atoms, after._replace(torsions=torsions, mobilities=mobilities[:, -1])
