"""Bond angles of the backbone, which reveal a strained trace where bond lengths do not."""

from __future__ import annotations

import numpy as np

from backmap.chemistry import ATOM_SLOTS, SLOT_C, SLOT_CA, SLOT_N, Topology

from .regions import gather, mean, share

IDEAL_DEGREES: dict[str, float] = {"CA-C-N": 116.9, "C-N-CA": 121.6, "N-CA-C": 111.0}
"""Means in good crystal structures."""

TOLERANCE_DEGREES = 10.0


def angle_measures(angle: str) -> tuple[str, str, str]:
    """Name the measures of a backbone angle: mean, standard deviation, and share of outliers."""
    name = f"angle_{angle.lower().replace('-', '_')}"
    return name, f"{name}_spread", f"{name}_off"


def angle_atoms(topology: Topology, linked: np.ndarray) -> np.ndarray:
    """List the three atoms of every backbone angle.

    Parameters
    ----------
    topology : Topology
    linked : ndarray, (residues,) bool
        Residues bonded to the next one of their chain.

    Returns
    -------
    ndarray, (3, residues, 3) int64
        Flat atom indices in the order of ``IDEAL_DEGREES``, -1 where an angle does not exist. CA-C-N and
        C-N-CA belong to the peptide bond to the successor.
    """
    own = np.arange(topology.n_residues)[:, None] * ATOM_SLOTS
    following = topology.next_in_chain[:, None] * ATOM_SLOTS
    atoms = {
        "CA-C-N": np.hstack([own + SLOT_CA, own + SLOT_C, following + SLOT_N]),
        "C-N-CA": np.hstack([own + SLOT_C, following + SLOT_N, following + SLOT_CA]),
        "N-CA-C": np.hstack([own + SLOT_N, own + SLOT_CA, own + SLOT_C]),
    }
    for name in ("CA-C-N", "C-N-CA"):
        atoms[name][~linked] = -1
    return np.stack([atoms[name] for name in IDEAL_DEGREES])


def bond_angles(atoms: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Measure bond angles.

    Parameters
    ----------
    atoms : ndarray, (..., residues, 15, 3)
    indices : ndarray, (angles, 3) int64
        Flat atom indices.

    Returns
    -------
    ndarray, (..., angles)
        Degrees from 0 to 180. Meaningless where an index is negative.
    """
    first, vertex, last = gather(atoms, indices)
    before, after = first - vertex, last - vertex
    sine = np.linalg.norm(np.cross(before, after), axis=-1)
    return np.degrees(np.arctan2(sine, (before * after).sum(axis=-1)))


def angle_statistics(angles: np.ndarray, ideal: float, counted: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return mean, standard deviation and percentage beyond the tolerance over the residues of a structure.

    Parameters
    ----------
    angles : ndarray, (..., residues)
        Degrees.
    ideal : float
        Degrees.
    counted : ndarray, (2, residues) bool
        Angles that count in each region.

    Returns
    -------
    tuple of three ndarray, (2, ...)
        Degrees, degrees and percent; NaN where no angle counts.
    """
    off = angles - ideal
    average, square = mean(off, counted), mean(off**2, counted)
    spread = np.sqrt(np.maximum(square - average**2, 0.0))
    return ideal + average, spread, share(np.abs(off) > TOLERANCE_DEGREES, counted)
