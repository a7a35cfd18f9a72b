"""Ramachandran-favoured residues and outliers, by the Top8000 distributions."""

from __future__ import annotations

import numpy as np

from backmap.chemistry.ramachandran import (
    FAVOURED_PERCENTILE,
    OUTLIER_PERCENTILES,
    ramachandran_classes,
    ramachandran_percentiles,
)

from .stereochemistry import is_cis


def favoured_and_outliers(
    residue_types: np.ndarray, linked: np.ndarray, phi: np.ndarray, psi: np.ndarray, omega: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Classify each residue as MolProbity does.

    Parameters
    ----------
    residue_types : ndarray, (residues,) int64
    linked : ndarray, (residues,) bool
        Residues bonded to their successor.
    phi, psi, omega : ndarray, (..., residues)
        Degrees; omega belongs to the peptide bond before the residue. Results are meaningless for a residue
        that lacks phi or psi.

    Returns
    -------
    favoured, outliers : ndarray, (..., residues) bool
    """
    classes = ramachandran_classes(residue_types, linked, is_cis(omega))
    percentiles = ramachandran_percentiles(classes, phi, psi)
    return percentiles >= FAVOURED_PERCENTILE, percentiles < OUTLIER_PERCENTILES[classes]
