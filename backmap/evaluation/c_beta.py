"""Deviation of CB from its ideal position, given N, CA and C."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backmap.chemistry import RESIDUE_NAMES, SLOT_C, SLOT_CA, SLOT_CB, SLOT_N

OUTLIER_ANGSTROM = 0.25


class IdealBeta(NamedTuple):
    """Ideal position of CB: CA-CB in Angstrom; C-CA-CB, N-C-CA-CB, N-CA-CB and C-N-CA-CB in degrees."""

    bond: float
    angle_to_c: float
    torsion_over_c: float
    angle_to_n: float
    torsion_over_n: float


_BRANCHED = IdealBeta(1.540, 109.1, 123.4, 111.5, -122.0)
_OTHERS = IdealBeta(1.530, 110.1, 122.8, 110.5, -122.6)
_IDEAL = {
    "ALA": IdealBeta(1.536, 110.1, 122.9, 110.6, -122.6),
    "PRO": IdealBeta(1.530, 112.2, 115.1, 103.0, -120.7),
    **dict.fromkeys(("ILE", "THR", "VAL"), _BRANCHED),
}
"""Values of Lovell et al., Proteins 50, 437 (2003), as used by MolProbity."""


def c_beta_deviations(atoms: np.ndarray, residue_types: np.ndarray) -> np.ndarray:
    """Measure the distance of each CB from its ideal position.

    The ideal position averages those derived from the angles at C and at N, at the ideal distance from CA.

    Parameters
    ----------
    atoms : ndarray, (..., residues, 15, 3)
        nm.
    residue_types : ndarray, (residues,) int64

    Returns
    -------
    ndarray, (..., residues)
        Angstrom. Meaningless for glycine and where an atom is absent.
    """
    ideal = np.array([_IDEAL.get(name, _OTHERS) for name in RESIDUE_NAMES])[residue_types]
    bond = ideal[:, 0, None]
    angles = np.radians(ideal[:, 1:, None])
    n, c_alpha, c, c_beta = (10.0 * atoms[..., slot, :] for slot in (SLOT_N, SLOT_CA, SLOT_C, SLOT_CB))
    by_c = _direction(n, c, c_alpha, angles[:, 0], angles[:, 1])
    by_n = _direction(c, n, c_alpha, angles[:, 2], angles[:, 3])
    place = c_alpha + bond * _normalised(by_c + by_n)
    return np.linalg.norm(c_beta - place, axis=-1)


def _direction(
    first: np.ndarray, second: np.ndarray, third: np.ndarray, angle: np.ndarray, torsion: np.ndarray
) -> np.ndarray:
    """Return unit vectors (..., 3) from ``third`` to an atom with this angle and torsion, radians."""
    axis = _normalised(third - second)
    normal = _normalised(np.cross(second - first, axis))
    across = np.cos(torsion) * np.cross(normal, axis) + np.sin(torsion) * normal
    return np.sin(angle) * across - np.cos(angle) * axis


def _normalised(vectors: np.ndarray) -> np.ndarray:
    """Return unit vectors (..., 3); zero vectors stay zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
