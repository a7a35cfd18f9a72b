"""How common the side-chain torsions of each residue are, by the Top8000 distributions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backmap.chemistry import ATOM_SLOTS, CHI_SLOTS, Topology
from backmap.chemistry.rotamers import (
    FAVOURED_PERCENTILE,
    OUTLIER_PERCENTILE,
    rotamer_percentiles,
    torsions_scored,
)


class Rotamers(NamedTuple):
    """Classification of side chains as by MolProbity; Ala and Gly are meaningless.

    Attributes
    ----------
    percentile : ndarray, (..., residues)
        Percent of good residues of the type in less dense regions.
    favoured, outliers : ndarray, (..., residues) bool
    """

    percentile: np.ndarray
    favoured: np.ndarray
    outliers: np.ndarray


def side_chain_torsions(topology: Topology) -> np.ndarray:
    """List the four atoms of the torsions that rotamers depend on.

    Returns
    -------
    ndarray, (4, residues, 4) int64
        Flat atom indices of chi1 to chi4, -1 where a residue has no such torsion.
    """
    slots = np.where(torsions_scored()[..., None], CHI_SLOTS, -1)[topology.residue_types]
    start = ATOM_SLOTS * np.arange(topology.n_residues)[:, None, None]
    return np.moveaxis(np.where(slots >= 0, slots + start, -1), 1, 0)


def rotamers_of_residues(residue_types: np.ndarray, chi: np.ndarray) -> Rotamers:
    """Classify each side chain.

    Parameters
    ----------
    residue_types : ndarray, (residues,) int64
    chi : ndarray, (4, ..., residues)
        chi1 to chi4 in degrees.
    """
    percentiles = rotamer_percentiles(residue_types, chi)
    favoured, outliers = percentiles >= FAVOURED_PERCENTILE, percentiles < OUTLIER_PERCENTILE
    return Rotamers(100.0 * np.nan_to_num(percentiles), favoured, outliers)
