"""From the beads of frames to the C-alphas on which atoms are built."""

from __future__ import annotations

import torch
from torch import Tensor

from backmap.inference.c_alpha_rule import CAlphaRule
from backmap.models.c_alpha_posterior import CAlphaPosterior
from backmap.models.chain import Chain
from backmap.models.counter_random import stream_keys


class CAlphaDrawer:
    """Draws the C-alphas of frames by a rule.

    Parameters
    ----------
    rule : CAlphaRule
        Whether C-alphas are kept or drawn.
    chain : Chain
        The sequence, on the device used for computing.
    """

    def __init__(self, rule: CAlphaRule, chain: Chain) -> None:
        self.rule = rule
        self.chain = chain
        self._posterior = CAlphaPosterior().to(chain.types.device)

    @torch.inference_mode()
    def draw(self, beads: Tensor, *, samples: int, seed: int, box: Tensor | None = None) -> Tensor:
        """Draw the C-alphas of frames.

        The random numbers do not depend on the frame, so that consecutive frames move alike.

        Parameters
        ----------
        beads : Tensor, (frames, residues, 3) float32
            In nm, molecules whole.
        samples : int
            Draws per frame.
        seed : int
            Seed of the random numbers.
        box : Tensor, (frames, 3, 3) float32, optional
            Vectors of periodic boxes in nm, as rows, in reduced form.

        Returns
        -------
        Tensor, (samples, frames, residues, 3), or the beads themselves if all frames keep their C-alphas
            In nm.
        """
        if self.rule.mode == "keep":
            return beads
        numbers = torch.zeros(len(beads), dtype=torch.int64, device=beads.device)
        keys = stream_keys(seed, samples, numbers)
        noise = None
        if self.rule.noise_nm is not None:
            noise = torch.full_like(beads[:, :, 0], self.rule.noise_nm, dtype=torch.float64)
        drawn, moves = self._posterior(beads, self.chain, keys, box, self.rule.least_noise_nm, noise)
        return drawn if bool(moves.any()) else beads
