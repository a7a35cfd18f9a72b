"""Distributions of potential energies: the sample against the reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .distributions import Comparison, compare, require_finite

BEYOND_PERCENTILE = 99.9


@dataclass(frozen=True)
class Energies:
    """Distributions of potential energies, kJ/mol.

    Attributes
    ----------
    distribution : Comparison
    wasserstein : float
        First-order Wasserstein distance: the average shift between the energies.
    beyond : float
        Percent of the sample's frames above the reference's 99.9th percentile; 0.1 is ideal.
    limit : float
        That percentile.
    """

    distribution: Comparison
    wasserstein: float
    beyond: float
    limit: float


def compare_energies(reference: np.ndarray, sample: np.ndarray) -> Energies:
    """Compare potential energies from any source.

    Parameters
    ----------
    reference, sample : ndarray, (frames,)
        kJ/mol.

    Returns
    -------
    Energies

    Raises
    ------
    InputError
        If an energy is NaN or infinite.
    """
    from scipy.stats import wasserstein_distance

    require_finite(reference, "the reference's energies")
    require_finite(sample, "the sample's energies")
    limit = float(np.percentile(reference, BEYOND_PERCENTILE))
    return Energies(
        distribution=compare(reference, sample),
        wasserstein=float(wasserstein_distance(reference, sample)),
        beyond=100.0 * float((sample > limit).mean()),
        limit=limit,
    )
