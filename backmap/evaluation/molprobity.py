"""The MolProbity score: clashes, rotamers and backbone in one number on the scale of a resolution."""

from __future__ import annotations

import numpy as np


def molprobity_score(
    clashscore: np.ndarray, rotamer_outliers: np.ndarray, ramachandran_favoured: np.ndarray
) -> np.ndarray:
    """Combine three measures (Chen and others, Acta Cryst. D 66, 12, 2010).

    Parameters
    ----------
    clashscore : ndarray, (...)
        Contacts per 1000 atoms.
    rotamer_outliers, ramachandran_favoured : ndarray, (...)
        Percent. A structure without rotamers has no outliers.

    Returns
    -------
    ndarray, (...)
        About the resolution, in Angstrom, at which crystal structures have such values.
    """
    clashes = 0.426 * np.log1p(clashscore)
    rotamers = 0.33 * np.log1p(np.maximum(0.0, np.nan_to_num(rotamer_outliers) - 1.0))
    backbone = 0.25 * np.log1p(np.maximum(0.0, 100.0 - ramachandran_favoured - 2.0))
    return clashes + rotamers + backbone + 0.5
