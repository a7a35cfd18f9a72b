"""Traces that are mirror images of proteins, recognised by their left-handed helices."""

from __future__ import annotations

import numpy as np

from backmap.chemistry import Topology
from backmap.chemistry.modified_residues import mirrored_residues

_HELIX_DIHEDRAL = (35.0, 70.0)
"""In degrees, of four consecutive C-alphas of a right-handed helix."""

_HELIX_SPAN_NM = (0.45, 0.60)
"""From the first to the last of them."""

_SHORTEST_HELIX = 5
"""Consecutive windows of four C-alphas, eight residues; left-handed helices of proteins are shorter."""

_FEWEST_WINDOWS = 10
_LEFT_PER_RIGHT = 3


def describe_mirror_image(c_alpha: np.ndarray, linked: np.ndarray, topology: Topology) -> str | None:
    """Say that a protein looks like a mirror image; None if it does not.

    Parameters
    ----------
    c_alpha : ndarray, (residues, 3)
        In nm.
    linked : ndarray, (residues,) bool
        Which residues are bonded to their successor.
    topology : Topology
        The residues; those with D-amino acids do not count.
    """
    if len(c_alpha) < _SHORTEST_HELIX + 3:
        return None
    steps = np.diff(c_alpha, axis=0)
    first, second, third = steps[:-2], steps[1:-1], steps[2:]
    normals = np.cross(first, second), np.cross(second, third)
    across = np.einsum("ij,ij->i", first, normals[1]) * np.linalg.norm(second, axis=-1)
    dihedral = np.degrees(np.arctan2(across, np.einsum("ij,ij->i", *normals)))
    span = np.linalg.norm(c_alpha[3:] - c_alpha[:-3], axis=-1)
    natural = ~mirrored_residues(topology)
    counts = linked[:-3] & linked[1:-2] & linked[2:-1] & natural[:-3] & natural[3:]
    helical = counts & (span > _HELIX_SPAN_NM[0]) & (span < _HELIX_SPAN_NM[1])
    low, high = _HELIX_DIHEDRAL
    n_right, n_left = (
        _in_long_runs(helical & (hand * dihedral > low) & (hand * dihedral < high)) for hand in (1, -1)
    )
    if n_left < _FEWEST_WINDOWS or n_left < _LEFT_PER_RIGHT * n_right:
        return None
    return (
        "its helices are left-handed, so the positions look like a mirror image, on which chains of "
        "L-amino acids do not fit; invert the sign of one coordinate of all atoms"
    )


def _in_long_runs(marked: np.ndarray) -> int:
    """Count marked windows (windows,) bool in runs of at least ``_SHORTEST_HELIX``."""
    edges = np.diff(np.concatenate([[0], marked.astype(np.int8), [0]]))
    lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    return int(lengths[lengths >= _SHORTEST_HELIX].sum())
