"""From the beads of frames to the C-alphas on which atoms are built."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from backmap.errors import InputError
from backmap.models.c_alpha_posterior import SOFT_BOND_NOISE_NM, CAlphaPosterior
from backmap.models.chain import Chain
from backmap.models.counter_random import stream_keys

CAlphaMode = Literal["auto", "keep", "relax"]
C_ALPHA_MODES: tuple[CAlphaMode, ...] = get_args(CAlphaMode)

MAX_BEAD_NOISE_NM = 0.3


@dataclass(frozen=True)
class CAlphaRule:
    """Whether beads are exactly the C-alphas, or noisy observations of them.

    Parameters
    ----------
    mode : str
        ``keep`` leaves C-alphas in place, ``relax`` draws them given the beads, ``auto`` does so in frames
        whose beads are noisy.
    noise_nm : float, optional
        Standard deviation of a coordinate of a bead; estimated by default.

    Raises
    ------
    InputError
        If the mode is unknown, the noise is out of range, or a noise is given for C-alphas that are kept.
    """

    mode: CAlphaMode = "auto"
    noise_nm: float | None = None

    def __post_init__(self) -> None:
        if self.mode not in C_ALPHA_MODES:
            raise InputError(f"c-alphas {self.mode}: unknown; use {', '.join(C_ALPHA_MODES[:-1])} or relax")
        if self.noise_nm is None:
            return
        if self.mode == "keep":
            raise InputError("bead-noise: does not apply to C-alphas that are kept; omit one of the two")
        if not (math.isfinite(self.noise_nm) and 0 < self.noise_nm <= MAX_BEAD_NOISE_NM):
            raise InputError(
                f"bead-noise {self.noise_nm}: give a standard deviation in nm, more than 0 and at most "
                f"{MAX_BEAD_NOISE_NM}"
            )

    @property
    def least_noise_nm(self) -> float:
        """Lower bound on the noise of a coordinate of a bead, in nm."""
        return SOFT_BOND_NOISE_NM if self.mode == "relax" else 0.0

    @property
    def asks_to_move(self) -> bool:
        """Whether C-alphas are drawn in every frame."""
        return self.mode == "relax" or self.noise_nm is not None


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
