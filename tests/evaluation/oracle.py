"""An independent way to find clashes, from a tree of points."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from backmap.chemistry import SIDE_CHAIN


def clashing_residues(
    atoms: np.ndarray, present: np.ndarray, linked: np.ndarray, distance: float
) -> np.ndarray:
    """Find the residues of one frame, (residues, 15, 3), that clash."""
    residue, slot = np.nonzero(present)
    side = (slot >= SIDE_CHAIN.start) & (slot < SIDE_CHAIN.stop)
    pairs = cKDTree(atoms[present]).query_pairs(distance, output_type="ndarray")
    first, second = residue[pairs].reshape(-1, 2).T
    neighbours = ((second == first + 1) & linked[first]) | ((first == second + 1) & linked[second])
    counts = (first != second) & (~neighbours | side[pairs].reshape(-1, 2).all(axis=1))
    flags = np.zeros(len(present), dtype=bool)
    flags[first[counts]] = flags[second[counts]] = True
    return flags
