"""Whether an all-atom structure still agrees with the coarse-grained beads it was built from."""

from __future__ import annotations

import numpy as np

from backmap.chemistry import SLOT_CA

from .regions import mean


def c_alpha_rmsd(samples: np.ndarray, c_alpha: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Measure how far the C-alphas of the output are from the input, without superposition.

    Parameters
    ----------
    samples : ndarray, (..., frames, residues, 15, 3)
        nm.
    c_alpha : ndarray, (frames, residues, 3)
        nm.
    counted : ndarray, (2, residues) bool
        Residues of each region with a C-alpha on both sides.

    Returns
    -------
    ndarray, (2, ..., frames)
        nm.
    """
    return np.sqrt(mean(((samples[..., SLOT_CA, :] - c_alpha) ** 2).sum(axis=-1), counted))
