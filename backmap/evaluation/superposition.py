"""Rigid superposition of frames by least squares (Kabsch, Acta Cryst. A 1976, 32, 922)."""

from __future__ import annotations

import numpy as np


def superpose(positions: np.ndarray, fitted: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Move frames rigidly so that some of their atoms lie on targets.

    Parameters
    ----------
    positions : ndarray, (frames, atoms, 3)
        nm.
    fitted : ndarray, (fitted,) int64
        Atoms that are fitted.
    targets : ndarray, (frames, fitted, 3) or (fitted, 3)
        nm.

    Returns
    -------
    ndarray, (frames, atoms, 3)
        Proper rotations only.
    """
    centre = positions[:, fitted].mean(axis=1, keepdims=True)
    target_centre = targets.mean(axis=-2, keepdims=True)
    covariance = np.swapaxes(positions[:, fitted] - centre, 1, 2) @ (targets - target_centre)
    left, _, right = np.linalg.svd(covariance.astype(np.float64))
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
    return (positions - centre) @ (left @ right).astype(positions.dtype) + target_centre
