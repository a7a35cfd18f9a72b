"""How common the side-chain torsions of a residue are in good structures: the rotamers of the Top8000.

The distributions come from the Top8000 data set of the Richardson laboratory, Duke University
(https://github.com/rlabduke/reference_data, folder ``Top8000``), Creative Commons Attribution 4.0
(``rotamers.LICENSE.txt``), packed by :mod:`backmap.datasets.rotamer_grids`. Limits and interpolation follow
MolProbity (Hintze, Lewis, Richardson and Richardson, Proteins 84, 1177, 2016).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from backmap.chemistry.residues import CHI_MASK, CHI_SYMMETRIC, RESIDUE_INDEX, RESIDUE_NAMES

RESOURCE = Path(__file__).with_name("rotamers.npz")

FAVOURED_PERCENTILE = 0.02
"""A side chain at or above this percentile is favoured."""

OUTLIER_PERCENTILE = 0.003
"""A side chain below this percentile is an outlier."""

LOGARITHM_STEP = 0.005
"""A stored value n > 0 stands for the percentile exp(-(n - 1) * step), 0 for a percentile of 0."""

GRID_TORSIONS: dict[str, int] = {
    **dict.fromkeys(("CYS", "PRO", "SER", "THR", "VAL"), 1),
    **dict.fromkeys(("ASN", "ASP", "HIS", "ILE", "LEU", "PHE", "TRP", "TYR"), 2),
    **dict.fromkeys(("GLN", "GLU", "MET"), 3),
}
"""Number of side-chain torsions of each residue type that has a grid: chi1 of Pro, all torsions of others."""

WIDENING = 1.35
"""Factor on the standard deviations of the rotamers of Arg and Lys; see :class:`RotamerMixture`."""

LEVELS = np.concatenate([[0.0], np.geomspace(1e-5, 1.0, 200)])
"""Percentiles at which the densities of Arg and Lys are tabulated."""


@dataclass(frozen=True)
class RotamerMixture:
    """Rotamers of a residue type as a mixture of normal distributions.

    The Top8000 publishes no grid for the four torsions of Arg and Lys, but frequency, mean and standard
    deviation of each rotamer. Real rotamers have heavier tails than normal distributions. With standard
    deviations ``WIDENING`` times larger, mixtures of Gln and Met, which have grids, find as many favoured
    residues and outliers in crystal structures as their grids do, and agree with them on 98 % of residues.

    Parameters
    ----------
    weights : ndarray, (rotamers,)
        Frequencies, which sum to 1.
    means, deviations : ndarray, (rotamers, torsions)
        Degrees.
    levels : ndarray, (201,)
        Logarithms of the density below which ``LEVELS`` of the mixture lie.
    """

    weights: np.ndarray
    means: np.ndarray
    deviations: np.ndarray
    levels: np.ndarray

    def log_density(self, chi: np.ndarray) -> np.ndarray:
        """Return the logarithm of the density (...,) at torsions (..., torsions) in degrees."""
        width = WIDENING * self.deviations
        total = np.zeros(chi.shape[:-1])
        for weight, mean, spread in zip(self.weights, self.means, width, strict=True):
            off = ((chi - mean + 180.0) % 360.0 - 180.0) / spread
            total += weight / np.prod(spread) * np.exp(-0.5 * (off**2).sum(axis=-1))
        return np.log(np.maximum(total, np.finfo(np.float64).tiny))

    def percentiles(self, chi: np.ndarray) -> np.ndarray:
        """Return the share (...,) of the mixture that is less dense than at torsions (..., torsions)."""
        return np.interp(self.log_density(chi), self.levels, LEVELS)


@functools.cache
def rotamer_grids() -> dict[str, np.ndarray]:
    """Read the percentiles of the side-chain torsions by residue type.

    Returns
    -------
    dict of str to ndarray, float64
        One axis per torsion, from 0 to its period (360 degrees, or 180 degrees for a symmetric torsion); the
        centre of cell i is at (i + 1/2) period / cells. The percentile is the fraction (0 to 1) of good
        residues whose torsions lie in a less dense region.
    """
    grids = {}
    with np.load(RESOURCE) as resource:
        for name in GRID_TORSIONS:
            stored = resource["PHE" if name == "TYR" else name].astype(np.float64)
            grids[name] = np.where(stored > 0, np.exp(-LOGARITHM_STEP * (stored - 1)), 0.0)
            grids[name].flags.writeable = False
    return grids


@functools.cache
def rotamer_mixtures() -> dict[str, RotamerMixture]:
    """Read the rotamers of Arg and Lys."""
    with np.load(RESOURCE) as resource:
        return {
            name: RotamerMixture(*(resource[f"{name}_{part}"] for part in RotamerMixture.__annotations__))
            for name in ("ARG", "LYS")
        }


def torsions_scored() -> np.ndarray:
    """Mark the torsions (20, 4) bool on which the percentile of each residue type depends."""
    scored = CHI_MASK.copy()
    scored[RESIDUE_INDEX["PRO"], 1:] = False
    return scored


def rotamer_percentiles(residue_types: np.ndarray, chi: np.ndarray) -> np.ndarray:
    """Look up percentiles, interpolating linearly between cell centres along each torsion.

    Parameters
    ----------
    residue_types : ndarray, (residues,) int64
        Index into ``RESIDUE_NAMES``.
    chi : ndarray, (4, ..., residues)
        chi1 to chi4 in degrees, with any period; those that a residue does not have are not read.

    Returns
    -------
    ndarray, (..., residues)
        From 0 to 1; NaN for Ala and Gly.
    """
    percentiles = np.full(chi.shape[1:], np.nan)
    mixtures, grids = rotamer_mixtures(), rotamer_grids()
    for kind in np.unique(residue_types):
        rows, name = np.flatnonzero(residue_types == kind), RESIDUE_NAMES[kind]
        if name in grids:
            own = chi[: GRID_TORSIONS[name], ..., rows]
            percentiles[..., rows] = _interpolated(grids[name], own, _periods(name))
        elif name in mixtures:
            percentiles[..., rows] = mixtures[name].percentiles(np.moveaxis(chi[..., rows], 0, -1))
    return percentiles


def _periods(name: str) -> np.ndarray:
    """Return the periods of the torsions of a grid in degrees."""
    symmetric = CHI_SYMMETRIC[RESIDUE_INDEX[name], : GRID_TORSIONS[name]]
    return np.where(symmetric, 180.0, 360.0)


def _interpolated(grid: np.ndarray, chi: np.ndarray, periods: np.ndarray) -> np.ndarray:
    """Interpolate a periodic grid at torsions (torsions, ...)."""
    cells = np.array(grid.shape).reshape(-1, *[1] * (chi.ndim - 1))
    place = chi * cells / periods.reshape(cells.shape) - 0.5
    first = np.floor(place).astype(np.int64)
    beyond = place - first
    total = np.zeros(chi.shape[1:])
    for corner in product((0, 1), repeat=len(grid.shape)):
        step = np.array(corner).reshape(cells.shape)
        weight = np.where(step == 1, beyond, 1.0 - beyond).prod(axis=0)
        total += weight * grid[tuple((first + step) % cells)]
    return total
