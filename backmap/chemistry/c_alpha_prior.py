"""Energies of four consecutive C-alphas of a protein, fitted to crystal structures.

The energy of a window of four is read from a table of its two angles and its dihedral, one table per kind of
its two middle residues (glycine, proline, or any other). Two overlapping windows share an angle, which counts
half in each: the sum over a chain is minus the logarithm of its density in space, in kT, up to a constant.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from backmap.chemistry.residues import RESIDUE_INDEX, RESIDUE_NAMES

RESOURCE = Path(__file__).with_name("c_alpha_prior.npz")
"""Written by ``python -m backmap.datasets.c_alpha_statistics``."""

N_ANGLES, N_DIHEDRALS = 20, 36
FIRST_ANGLE, LAST_ANGLE = np.radians(60.0), np.radians(174.0)
"""Angles of the first and the last node, in radians; dihedrals start at -pi."""

SOFT_BOND_NOISE_NM = 0.0124
"""Noise of a coordinate with bonds of 8033 kJ/mol/nm^2 at 300 K (CALVADOS, HPS, Mpipi)."""

_KINDS = ("GLY", "PRO")
N_RESIDUE_KINDS = len(_KINDS) + 1
N_WINDOW_KINDS = N_RESIDUE_KINDS**2


def window_kinds() -> np.ndarray:
    """Return the kind of a window by the types of its two middle residues, (20, 20) int64."""
    kinds = np.zeros(len(RESIDUE_NAMES), dtype=np.int64)
    kinds[[RESIDUE_INDEX[name] for name in _KINDS]] = np.arange(1, N_RESIDUE_KINDS)
    return N_RESIDUE_KINDS * kinds[:, None] + kinds


@functools.cache
def c_alpha_energies() -> np.ndarray:
    """Return the energies in kT at the nodes of (angle, dihedral, angle), (kinds, 20, 36, 20) float32.

    The lowest energy of each kind is 0.
    """
    with np.load(RESOURCE, allow_pickle=False) as stored:
        return stored["step_kt"].astype(np.float32) * stored["energies"].astype(np.float32)
