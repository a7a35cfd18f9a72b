"""How common phi and psi of a residue are in good structures: the Ramachandran distributions of the Top8000.

The grids come from the Top8000 data set of the Richardson laboratory, Duke University
(https://github.com/rlabduke/reference_data, folder ``Top8000``), Creative Commons Attribution 4.0
(``ramachandran.LICENSE.txt``), packed by :mod:`backmap.datasets.ramachandran_grids`. Classes, limits and
interpolation follow MolProbity (Williams et al., Protein Sci. 27, 293, 2018).
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from backmap.chemistry.residues import NO_RESIDUE, RESIDUE_INDEX

RESOURCE = Path(__file__).with_name("ramachandran.npz")

RAMACHANDRAN_CLASSES = (
    "general",
    "glycine",
    "isoleucine-valine",
    "pre-proline",
    "trans-proline",
    "cis-proline",
)
"""Classes of residues, each with its own distribution, in the order of the grids."""

FAVOURED_PERCENTILE = 0.02
"""A residue at or above this percentile is favoured, as are 98 % of good residues."""

OUTLIER_PERCENTILES = np.array([0.0005, 0.001, 0.001, 0.001, 0.001, 0.002])
"""A residue below the percentile of its class is an outlier."""

CELLS = 180
"""Cells of a grid along phi and along psi."""
CELL_DEGREES = 360.0 / CELLS
LOGARITHM_STEP = 0.001
"""A stored value n > 0 stands for the percentile exp(-(n - 1) * step), 0 for a percentile of 0."""


@functools.cache
def percentile_grids() -> np.ndarray:
    """Read the percentiles of (phi, psi).

    Returns
    -------
    ndarray, (6, 180, 180) float64
        By class, phi and psi; the centre of cell i is at -179 + 2 i degrees. The percentile is the fraction
        (0 to 1) of good residues of the class whose (phi, psi) lies in a less dense region.
    """
    with np.load(RESOURCE) as resource:
        stored = resource["steps"].astype(np.float64)
    grids = np.where(stored > 0, np.exp(-LOGARITHM_STEP * (stored - 1)), 0.0)
    grids.flags.writeable = False
    return grids


def ramachandran_classes(residue_types: np.ndarray, following: np.ndarray, cis: np.ndarray) -> np.ndarray:
    """Assign each residue to a distribution.

    Glycine and proline take precedence, then any residue before a proline, then isoleucine and valine.

    Parameters
    ----------
    residue_types : ndarray, (residues,) int64
        Index into ``RESIDUE_NAMES``.
    following : ndarray, (residues,) int64
        The residue that each is bonded to, towards the end of the chain; -1 without.
    cis : ndarray, (..., residues) bool
        Whether the peptide bond before each residue is cis; matters only for proline.

    Returns
    -------
    ndarray, (..., residues) int64
        Index into ``RAMACHANDRAN_CLASSES``.
    """
    next_types = np.where(following >= 0, residue_types[following], NO_RESIDUE)
    glycine, proline = (residue_types == RESIDUE_INDEX[name] for name in ("GLY", "PRO"))
    branched = np.isin(residue_types, [RESIDUE_INDEX["ILE"], RESIDUE_INDEX["VAL"]])
    kinds = {
        "glycine": glycine,
        "cis-proline": proline & cis,
        "trans-proline": proline,
        "pre-proline": next_types == RESIDUE_INDEX["PRO"],
        "isoleucine-valine": branched,
    }
    shape = np.broadcast_shapes(residue_types.shape, np.shape(cis))
    masks = [np.broadcast_to(mask, shape) for mask in kinds.values()]
    return np.select(masks, [RAMACHANDRAN_CLASSES.index(name) for name in kinds], 0)


def ramachandran_percentiles(classes: np.ndarray, phi: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """Look up percentiles, interpolating linearly between cell centres in both directions.

    Parameters
    ----------
    classes : ndarray int64
        From :func:`ramachandran_classes`; the three arrays broadcast.
    phi, psi : ndarray
        In degrees, with any period.

    Returns
    -------
    ndarray
        From 0 to 1.
    """
    grids = percentile_grids()
    row, column = (np.asarray(angle) / CELL_DEGREES + (CELLS - 1) / 2 for angle in (phi, psi))
    first_row, first_column = np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)
    below, across = row - first_row, column - first_column
    result: np.ndarray = np.zeros(())
    for next_row, row_weight in ((0, 1 - below), (1, below)):
        for next_column, column_weight in ((0, 1 - across), (1, across)):
            rows, columns = (first_row + next_row) % CELLS, (first_column + next_column) % CELLS
            result = result + row_weight * column_weight * grids[classes, rows, columns]
    return result
