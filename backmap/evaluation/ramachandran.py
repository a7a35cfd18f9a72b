"""How common phi and psi of each residue are, by the Top8000 distributions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backmap.chemistry.ramachandran import (
    FAVOURED_PERCENTILE,
    OUTLIER_PERCENTILES,
    ramachandran_classes,
    ramachandran_percentiles,
)

from .stereochemistry import is_cis


class Ramachandran(NamedTuple):
    """Classification of residues as by MolProbity; residues without phi or psi are meaningless.

    Attributes
    ----------
    percentile : ndarray, (..., residues)
        Percent of good residues of the class in less dense regions.
    favoured, outliers : ndarray, (..., residues) bool
    """

    percentile: np.ndarray
    favoured: np.ndarray
    outliers: np.ndarray


def ramachandran_of_residues(
    residue_types: np.ndarray, following: np.ndarray, phi: np.ndarray, psi: np.ndarray, omega: np.ndarray
) -> Ramachandran:
    """Classify each residue.

    Parameters
    ----------
    residue_types : ndarray, (residues,) int64
    following : ndarray, (residues,) int64
        The residue that each is bonded to, towards the end of the chain; -1 without.
    phi, psi, omega : ndarray, (..., residues)
        Degrees; omega belongs to the peptide bond before the residue.
    """
    classes = ramachandran_classes(residue_types, following, is_cis(omega))
    percentiles = ramachandran_percentiles(classes, phi, psi)
    favoured, outliers = percentiles >= FAVOURED_PERCENTILE, percentiles < OUTLIER_PERCENTILES[classes]
    return Ramachandran(100.0 * percentiles, favoured, outliers)
