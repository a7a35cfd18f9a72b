"""How the C-alphas of frames follow from their beads, as a value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from backmap.chemistry.c_alpha_prior import SOFT_BOND_NOISE_NM
from backmap.errors import InputError

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
