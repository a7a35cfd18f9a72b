"""Handedness of chiral centres, and cis peptide bonds."""

from __future__ import annotations

import numpy as np

from backmap.chemistry import ATOM_SLOTS, RESIDUE_INDEX, SLOT_C, SLOT_CA, SLOT_CB, SLOT_N, Topology
from backmap.chemistry.modified_residues import mirrored_residues
from backmap.chemistry.residues import HEAVY_ATOMS

from .regions import gather

CIS_DEGREES = 30.0

_BETA_NEIGHBOURS = {"ILE": ("CA", "CG1", "CG2"), "THR": ("CA", "OG1", "CG2")}


def alpha_centres(topology: Topology) -> np.ndarray:
    """List the C-alpha of each residue and its neighbours N, C, CB; -1 for Gly.

    Returns
    -------
    ndarray, (residues, 4) int64
        Flat atom indices, ordered so that :func:`right_handed` is true for L residues, and for those that are
        named as D residues if they are.
    """
    centres = np.arange(topology.n_residues)[:, None] * ATOM_SLOTS + [SLOT_CA, SLOT_N, SLOT_C, SLOT_CB]
    centres = _as_named(centres, topology)
    return np.where((topology.residue_types == RESIDUE_INDEX["GLY"])[:, None], -1, centres)


def beta_centres(topology: Topology) -> np.ndarray:
    """List the second chiral centres, CB of Ile and Thr, like :func:`alpha_centres`; -1 for all others."""
    centres = np.full((topology.n_residues, 4), -1, dtype=np.int64)
    for name, neighbours in _BETA_NEIGHBOURS.items():
        slots = [SLOT_CB, *(HEAVY_ATOMS[name].index(atom) for atom in neighbours)]
        rows = np.flatnonzero(topology.residue_types == RESIDUE_INDEX[name])
        centres[rows] = rows[:, None] * ATOM_SLOTS + slots
    return _as_named(centres, topology)


def _as_named(centres: np.ndarray, topology: Topology) -> np.ndarray:
    """Reverse the order of the neighbours in D-amino acids."""
    return np.where(mirrored_residues(topology)[:, None], centres[:, [0, 2, 1, 3]], centres)


def right_handed(atoms: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return whether the three neighbours turn anticlockwise, seen from their own side.

    Parameters
    ----------
    atoms : ndarray, (..., residues, 15, 3)
    centres : ndarray, (groups, 4) int64
        Centre and three neighbours. A planar centre is not right-handed.

    Returns
    -------
    ndarray, (..., groups) bool
    """
    centre, first, second, third = gather(atoms, centres)
    return (np.cross(first - centre, second - centre) * (third - centre)).sum(axis=-1) > 0


def is_cis(omega: np.ndarray) -> np.ndarray:
    """Return whether peptide bonds are cis: omega (degrees) within 30 degrees of 0."""
    return np.abs(omega) < CIS_DEGREES


def is_twisted(omega: np.ndarray) -> np.ndarray:
    """Return whether peptide bonds are neither cis nor trans: omega 30 degrees or more from 0 and 180."""
    return (np.abs(omega) >= CIS_DEGREES) & (np.abs(omega) <= 180.0 - CIS_DEGREES)
