"""Bonds that pass through a ring of another residue."""

from __future__ import annotations

import numpy as np

from backmap.chemistry import ATOM_SLOTS, Topology
from backmap.chemistry.near_pairs import near_pairs
from backmap.chemistry.residues import AROMATIC_RINGS, HEAVY_ATOMS

from .regions import gather

SEARCH_RADIUS_NM = 0.4
"""Largest distance between midpoints of a bond and a ring that is examined (for bonds of up to 0.5 nm)."""

_LARGEST_RING = 6


def ring_atoms(topology: Topology, present: np.ndarray) -> np.ndarray:
    """List the rings of aromatic residues and proline whose atoms are all present.

    Returns
    -------
    ndarray, (rings, 6) int64
        Flat atom indices around the ring; a five-membered ring repeats its last atom.
    """
    rings = [
        residue * ATOM_SLOTS + np.array([HEAVY_ATOMS[name].index(atom) for atom in ring])
        for residue in range(topology.n_residues)
        for name in (topology.residue_name(residue),)
        for ring in AROMATIC_RINGS.get(name, ())
    ]
    rings = [np.pad(ring, (0, _LARGEST_RING - len(ring)), mode="edge") for ring in rings]
    table = np.array(rings, dtype=np.int64).reshape(-1, _LARGEST_RING)
    return table[present.reshape(-1)[table].all(axis=-1)]


def pierced_rings(
    atoms: np.ndarray, bonds: np.ndarray, rings: np.ndarray, box: np.ndarray | None = None
) -> np.ndarray:
    """Find bonds that pass through a ring.

    The ring is divided into triangles between its centre and each side. Bonds with an atom in the ring's own
    residue are never counted.

    Parameters
    ----------
    atoms : ndarray, (..., residues, 15, 3)
        nm.
    bonds : ndarray, (bonds, 2) int64
        Flat atom indices of bonds whose atoms are present.
    rings : ndarray, (rings, 6) int64
        See :func:`ring_atoms`.
    box : ndarray, (..., 3, 3), optional
        Vectors of periodic boxes in nm; bonds are tested across their boundaries. Residues must be whole.

    Returns
    -------
    ndarray, (..., bonds) bool
    """
    frames = atoms.reshape(-1, *atoms.shape[-3:])
    pierced = np.zeros((len(frames), len(bonds)), dtype=bool)
    ring_residue, bond_residues = rings[:, :1] // ATOM_SLOTS, bonds // ATOM_SLOTS
    boxes = [None] * len(frames) if box is None else box.reshape(-1, 3, 3)
    for frame, own_box, found in zip(frames, boxes, pierced, strict=True):
        starts, ends = gather(frame, bonds)
        corners = gather(frame, rings).swapaxes(0, 1)
        ring, bond, shift = near_pairs(corners.mean(axis=1), (starts + ends) / 2, SEARCH_RADIUS_NM, own_box)
        apart = (ring_residue[ring] != bond_residues[bond]).all(axis=-1)
        ring, bond, shift = ring[apart], bond[apart], shift[apart]
        found[bond[_crosses(starts[bond] + shift, ends[bond] + shift, corners[ring])]] = True
    return pierced.reshape(*atoms.shape[:-3], len(bonds))


def _crosses(starts: np.ndarray, ends: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return which segments cross the triangle fan of their ring (Moeller and Trumbore).

    Parameters
    ----------
    starts, ends : ndarray, (pairs, 3)
    corners : ndarray, (pairs, 6, 3)

    Returns
    -------
    ndarray, (pairs,) bool
    """
    centre = corners.mean(axis=1, keepdims=True)
    first, second = corners - centre, np.roll(corners, -1, axis=1) - centre
    direction = (ends - starts)[:, None]
    normal = np.cross(direction, second)
    volume = (first * normal).sum(axis=-1)
    inverse = np.divide(1.0, volume, out=np.full(volume.shape, np.nan), where=np.abs(volume) > 1e-12)
    offset = starts[:, None] - centre
    across = np.cross(offset, first)
    u = (offset * normal).sum(axis=-1) * inverse
    v = (direction * across).sum(axis=-1) * inverse
    along = (second * across).sum(axis=-1) * inverse
    inside = (u >= 0) & (v >= 0) & (u + v <= 1) & (along >= 0) & (along <= 1)
    return inside.any(axis=1)
