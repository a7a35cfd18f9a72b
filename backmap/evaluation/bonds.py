"""Lengths of covalent bonds."""

from __future__ import annotations

import numpy as np

from .regions import gather

BOND_TOLERANCE = 0.10
"""A bond is good if its length deviates from the reference by at most this fraction of it."""


def bond_lengths(atoms: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    """Measure bond lengths.

    Parameters
    ----------
    atoms : ndarray, (..., residues, 15, 3)
        nm.
    bonds : ndarray, (bonds, 2) int64
        Flat atom indices.

    Returns
    -------
    ndarray, (..., bonds)
        nm.
    """
    first, second = gather(atoms, bonds)
    return np.linalg.norm(first - second, axis=-1)
