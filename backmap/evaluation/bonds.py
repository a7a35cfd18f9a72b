"""Lengths of covalent bonds."""

from __future__ import annotations

import numpy as np

from .regions import gather

BOND_TOLERANCE = 0.10
"""A bond is good when its length is within this share of the reference length, the limit included."""


def bond_lengths(atoms: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    """Measure bonds.

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
