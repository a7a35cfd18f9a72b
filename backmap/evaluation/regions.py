"""The residues and atoms that a measure covers: all residues, or only the interior of the chains."""

from __future__ import annotations

import numpy as np

from backmap.chemistry import ATOM_SLOTS, Topology

REGIONS = ("interior", "all")
"""Every measure is reported twice: without the first and last residue of each chain, and for all residues."""


def residue_regions(topology: Topology) -> np.ndarray:
    """Mark the residues of each region.

    Returns
    -------
    ndarray, (2, residues) bool
        In the order of ``REGIONS``.
    """
    return np.stack([topology.interior, np.ones(topology.n_residues, dtype=bool)])


def members(indices: np.ndarray, present: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Mark the groups of atoms that count in each region.

    A group (a bond, a torsion, a chiral centre) counts if all its atoms are present and all their residues
    lie in the region.

    Parameters
    ----------
    indices : ndarray, (groups, k) int64
        Flat atom indices ``residue * 15 + slot``; negative for an atom that does not exist.
    present : ndarray, (residues, 15) bool
        Atoms whose coordinates are known.
    regions : ndarray, (2, residues) bool
        See :func:`residue_regions`.

    Returns
    -------
    ndarray, (2, groups) bool
    """
    exists = indices >= 0
    safe = np.where(exists, indices, 0)
    known = (exists & present.reshape(-1)[safe]).all(axis=-1)
    return regions[:, safe // ATOM_SLOTS].all(axis=-1) & known


def gather(atoms: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Collect the coordinates of groups of atoms.

    Parameters
    ----------
    atoms : ndarray, (..., residues, 15, 3)
    indices : ndarray, (groups, k) int64
        Flat atom indices; a negative index yields the first atom, which :func:`members` then leaves out.

    Returns
    -------
    ndarray, (k, ..., groups, 3)
        One array per position in the group, ready for unpacking.
    """
    flat = atoms.reshape(*atoms.shape[:-3], -1, 3)
    return np.stack([np.take(flat, column, axis=-2) for column in np.maximum(indices, 0).T])


def share(flags: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return the percentage of flagged groups in each region.

    Parameters
    ----------
    flags : ndarray, (..., groups) bool
    counted : ndarray, (2, groups) bool
        Groups that count in each region.

    Returns
    -------
    ndarray, (2, ...)
        Percent; NaN where no group counts.
    """
    return 100.0 * mean(flags, counted)


def mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Average over the groups that count in each region, as :func:`share` does, without the factor of 100."""
    total = counted.sum(axis=-1).reshape(-1, *[1] * (values.ndim - 1))
    # A matrix product may sum in another order, and so change the last bit, with the number of frames.
    summed = np.stack([(values * region).sum(axis=-1, dtype=np.float64) for region in counted])
    return np.divide(summed, total, out=np.full(summed.shape, np.nan), where=total > 0)
