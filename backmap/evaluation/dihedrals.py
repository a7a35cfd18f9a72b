"""Torsions: values, recovery of a reference, and divergence of distributions."""

from __future__ import annotations

import numpy as np

from backmap.chemistry import (
    ATOM_SLOTS,
    CHI_SLOTS,
    CHI_SYMMETRIC,
    RESIDUE_NAMES,
    SLOT_C,
    SLOT_CA,
    SLOT_N,
    Topology,
)

from .regions import gather

TORSIONS = ("chi1", "chi2", "phi", "psi", "omega")
BINS = 36
"""Bins of 10 degrees over [-180, 180)."""

RECOVERY_DEGREES = 40.0
FLOOR_REPEATS = 20
FLOOR_SEED = 0


def torsion_atoms(topology: Topology, linked: np.ndarray) -> np.ndarray:
    """List the four atoms of every torsion.

    Phi and omega include atoms of the residue before (omega belongs to the peptide bond before the residue),
    psi includes an atom of the next one; without that peptide bond the torsion does not exist.

    Parameters
    ----------
    topology : Topology
    linked : ndarray, (residues,) bool
        Residues bonded to the next one of their chain.

    Returns
    -------
    ndarray, (5, residues, 4) int64
        Flat atom indices in the order of ``TORSIONS``, -1 where a torsion does not exist.
    """
    start = np.arange(topology.n_residues)[:, None] * ATOM_SLOTS
    side_chain = CHI_SLOTS[topology.residue_types]
    side_chain = np.where(side_chain >= 0, side_chain + start[:, None], -1)
    before, after = topology.preceding(linked)[:, None], topology.following(linked)[:, None]
    previous, following = before * ATOM_SLOTS, after * ATOM_SLOTS
    backbone = {
        "phi": (before >= 0, [previous + SLOT_C, start + SLOT_N, start + SLOT_CA, start + SLOT_C]),
        "psi": (after >= 0, [start + SLOT_N, start + SLOT_CA, start + SLOT_C, following + SLOT_N]),
        "omega": (before >= 0, [previous + SLOT_CA, previous + SLOT_C, start + SLOT_N, start + SLOT_CA]),
    }
    rows = [side_chain[:, 0], side_chain[:, 1]]
    rows += [np.where(exists, np.hstack(atoms), -1) for exists, atoms in backbone.values()]
    return np.stack(rows)


def dihedral_angles(atoms: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Measure torsions.

    Parameters
    ----------
    atoms : ndarray, (..., residues, 15, 3)
    indices : ndarray, (torsions, 4) int64
        Flat atom indices.

    Returns
    -------
    ndarray, (..., torsions)
        Degrees in [-180, 180], IUPAC sign. Meaningless where an index is negative.
    """
    first, second, third, fourth = gather(atoms, indices)
    axis = third - second
    before, after = np.cross(second - first, axis), np.cross(axis, fourth - third)
    sine = np.linalg.norm(axis, axis=-1) * ((second - first) * after).sum(axis=-1)
    return np.degrees(np.arctan2(sine, (before * after).sum(axis=-1)))


def fold_symmetric(angles: np.ndarray, torsion: str, residue_types: np.ndarray) -> np.ndarray:
    """Fold torsions with two-fold symmetry (chi2 of Asp, Phe, Tyr) into [-90, 90)."""
    if not torsion.startswith("chi"):
        return angles
    symmetric = CHI_SYMMETRIC[residue_types, int(torsion[3:]) - 1]
    return np.where(symmetric, (angles + 90.0) % 180.0 - 90.0, angles)


def angular_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the absolute difference of two angles on the circle, in degrees."""
    return np.abs((first - second + 180.0) % 360.0 - 180.0)


def count_by_type(angles: np.ndarray, residue_types: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return one histogram of a torsion per residue type.

    Parameters
    ----------
    angles : ndarray, (..., residues)
        Degrees.
    residue_types : ndarray, (residues,) int64
    counted : ndarray, (residues,) bool
        Residues to count.

    Returns
    -------
    ndarray, (20, 36) int64
        Counts over all leading dimensions.
    """
    bins = np.floor((angles[..., counted] + 180.0) * (BINS / 360.0)).astype(np.int64) % BINS
    flat = residue_types[counted] * BINS + bins
    size = len(RESIDUE_NAMES) * BINS
    return np.bincount(flat.reshape(-1), minlength=size).reshape(-1, BINS)


def jensen_shannon_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the square root of the Jensen-Shannon divergence (base 2) of two histograms.

    Parameters
    ----------
    first, second : ndarray, (..., bins)
        Counts; each is normalised to a distribution.

    Returns
    -------
    ndarray, (...)
        From 0 (equal) to 1 (disjoint); NaN where either histogram is empty.
    """
    with np.errstate(invalid="ignore"):
        p = first / first.sum(axis=-1, keepdims=True)
        q = second / second.sum(axis=-1, keepdims=True)
    middle = (p + q) / 2

    def relative_entropy(distribution: np.ndarray) -> np.ndarray:
        ratio = np.divide(distribution, middle, out=np.ones_like(middle), where=distribution > 0)
        return (distribution * np.log2(ratio)).sum(axis=-1)

    return np.sqrt(np.maximum((relative_entropy(p) + relative_entropy(q)) / 2, 0.0))


def divergence_by_type(reference: np.ndarray, sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances between histograms of residue types, and how small they could be.

    The floor is the mean distance between two bootstrap resamples of the reference's own torsions, each of
    the reference's size (``FLOOR_REPEATS`` pairs, seed ``FLOOR_SEED``): the distance expected between two
    samples of this size from the same distribution.

    Parameters
    ----------
    reference, sample : ndarray, (..., 36) int64
        Counts; the last leading dimension is usually the residue type.

    Returns
    -------
    distance, floor : ndarray, (...)
        NaN for types that either side lacks.
    """
    distance = jensen_shannon_distance(reference, sample)
    floor = np.full(distance.shape, np.nan)
    known = ~np.isnan(distance)
    size = reference[known].sum(axis=-1)
    odds = reference[known] / size[:, None]
    generator = np.random.default_rng(FLOOR_SEED)
    first, second = generator.multinomial(size, odds, size=(2, FLOOR_REPEATS, known.sum()))
    floor[known] = jensen_shannon_distance(first, second).mean(axis=0)
    return distance, floor
