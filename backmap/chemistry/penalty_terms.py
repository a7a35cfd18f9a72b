"""The bonds and angles of a protein, and the atoms that may not overlap, as arrays."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import DTypeLike

from backmap.chemistry.ideal_geometry import ideal_angle_spans, ideal_bond_lengths
from backmap.chemistry.residues import ATOM_SLOTS, CONTACT_RADII
from backmap.chemistry.topology import Topology


class PenaltyTerms(TypedDict):
    """Arguments of :func:`backmap.ops.structure_penalty`, by name; N atoms are residues * 15 slots.

    Attributes
    ----------
    present : ndarray, (residues, 15) bool
        Slots that hold an atom.
    bonds : ndarray, (bonds, 2) int64
        Flat atom indices ``residue * 15 + slot``.
    bond_lengths : ndarray, (bonds,)
        nm.
    angle_ends : ndarray, (angles, 2) int64
        The outer atoms of every bond angle, ascending.
    angle_spans : ndarray, (angles,)
        Distances between these atoms in nm.
    radii : ndarray, (residues, 15)
        nm.
    exclusion_start : ndarray, (N + 1,) int64
        Where the exclusions of each atom start.
    exclusions : ndarray, (exclusions,) int64
        For each atom, the atoms one, two or three bonds away, ascending.
    """

    present: np.ndarray
    bonds: np.ndarray
    bond_lengths: np.ndarray
    angle_ends: np.ndarray
    angle_spans: np.ndarray
    radii: np.ndarray
    exclusion_start: np.ndarray
    exclusions: np.ndarray


def penalty_terms(
    topology: Topology,
    linked: np.ndarray | None = None,
    *,
    reference: np.ndarray | None = None,
    dtype: DTypeLike = np.float64,
) -> PenaltyTerms:
    """List the bonds, angles, radii and exclusions of a protein.

    Parameters
    ----------
    topology : Topology
        The protein.
    linked : ndarray, (residues,) bool, optional
        Which residues have a peptide bond to their successor; by default all within a chain.
    reference : ndarray, (residues, 15, 3), optional
        Coordinates in nm from which to take lengths and spans; NaN where an atom is missing. Missing values,
        and by default all values, come from ideal geometry with trans peptides.
    dtype : dtype
        The dtype of lengths, spans and radii.

    Returns
    -------
    PenaltyTerms
        A dictionary. Disulfide bonds are not included.

    Raises
    ------
    ValueError
        If `reference` has the wrong shape.
    """
    if reference is not None and np.shape(reference) != (topology.n_residues, ATOM_SLOTS, 3):
        raise ValueError(
            f"reference must have shape ({topology.n_residues}, {ATOM_SLOTS}, 3), got {np.shape(reference)}"
        )
    bonds = topology.bonds(linked)
    ends, start, excluded = angles_and_exclusions(bonds, topology.n_residues * ATOM_SLOTS)
    return PenaltyTerms(
        present=topology.atom_mask,
        bonds=bonds,
        bond_lengths=_distances(reference, bonds, ideal_bond_lengths(topology, bonds)).astype(dtype),
        angle_ends=ends,
        angle_spans=_distances(reference, ends, ideal_angle_spans(topology, ends)).astype(dtype),
        radii=CONTACT_RADII[topology.residue_types].astype(dtype),
        exclusion_start=start,
        exclusions=excluded,
    )


def angles_and_exclusions(
    bonds: np.ndarray, atoms: int, fixed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the bond angles of some bonds, and the atoms that do not repel each other.

    Parameters
    ----------
    bonds : ndarray, (bonds, 2) int64
        Flat atom indices.
    atoms : int
        Number of flat indices.
    fixed : ndarray, (pairs, 2) int64, optional
        Further pairs that do not repel each other.

    Returns
    -------
    ends : ndarray, (angles, 2) int64
        The outer atoms of every bond angle, ascending.
    exclusion_start : ndarray, (atoms + 1,) int64
        Where the exclusions of each atom start.
    exclusions : ndarray, (exclusions,) int64
        For each atom, the atoms one, two or three bonds away, or of a fixed pair, ascending.
    """
    one_away = np.concatenate([bonds, bonds[:, ::-1]])
    two_away = _one_bond_further(one_away, one_away, atoms)
    three_away = _one_bond_further(two_away, one_away, atoms)
    ends = _sorted_unique(two_away[two_away[:, 0] < two_away[:, 1]], atoms)
    further = [] if fixed is None else [fixed, fixed[:, ::-1]]
    excluded = _sorted_unique(np.concatenate([one_away, two_away, three_away, *further]), atoms)
    start = np.searchsorted(excluded[:, 0], np.arange(atoms + 1))
    return ends, start, np.ascontiguousarray(excluded[:, 1])


def _one_bond_further(pairs: np.ndarray, one_away: np.ndarray, atoms: int) -> np.ndarray:
    """Return the pairs (i, k) for all pairs (i, j) and bonds (j, k) where k is not i."""
    neighbours = _sorted_unique(one_away, atoms)
    start = np.searchsorted(neighbours[:, 0], np.arange(atoms + 1))
    first, count = start[pairs[:, 1]], np.diff(start)[pairs[:, 1]]
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    further = np.stack(
        [np.repeat(pairs[:, 0], count), neighbours[np.repeat(first, count) + within, 1]], axis=1
    )
    return further[further[:, 0] != further[:, 1]]


def _sorted_unique(pairs: np.ndarray, atoms: int) -> np.ndarray:
    keys = np.sort(pairs[:, 0] * atoms + pairs[:, 1])
    keys = keys[np.diff(keys, prepend=-1) > 0]
    return np.stack(np.divmod(keys, max(atoms, 1)), axis=1)


def _distances(reference: np.ndarray | None, pairs: np.ndarray, ideal: np.ndarray) -> np.ndarray:
    if reference is None:
        return ideal
    first, second = np.moveaxis(np.reshape(reference, (-1, 3))[pairs], 1, 0)
    distance = np.linalg.norm(second - first, axis=-1)
    return np.where(np.isfinite(distance), distance, ideal)
