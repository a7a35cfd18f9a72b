"""Bonds of wrong length and overlapping residues, found together by one operator."""

from __future__ import annotations

import numpy as np
import torch

from backmap.chemistry import SIDE_CHAIN
from backmap.ops import structure_score

from .bonds import BOND_TOLERANCE

CLASH_DISTANCE_NM = 0.12
"""Residues clash if two of their atoms are closer; between chain neighbours only side-chain atoms count."""


def bonds_and_clashes(
    atoms: np.ndarray,
    present: np.ndarray,
    following: np.ndarray,
    bonds: np.ndarray,
    reference_lengths: np.ndarray,
    box: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find good bonds and clashing residues.

    Parameters
    ----------
    atoms : ndarray, (samples, frames, residues, 15, 3) float64
        nm.
    present : ndarray, (residues, 15) bool
    following : ndarray, (residues,) int64
        The residue that each is bonded to, towards the end of the chain; -1 without.
    bonds : ndarray, (bonds, 2) int64
        Flat atom indices of bonds whose atoms are present.
    reference_lengths : ndarray, (bonds,) or (frames, bonds) float64
        nm.
    box : ndarray, (samples, frames, 3, 3) float64, optional
        Vectors of periodic boxes in nm, in reduced form.

    Returns
    -------
    good : ndarray, (samples, frames, bonds) bool
        Bonds within ``BOND_TOLERANCE`` of their reference length.
    clashing : ndarray, (samples, frames, residues) bool
    """
    side_chain = np.zeros(present.shape, dtype=bool)
    side_chain[:, SIDE_CHAIN] = True
    lengths = np.broadcast_to(reference_lengths, (*atoms.shape[:2], len(bonds)))
    deviation, clashing, _ = structure_score(
        *(torch.tensor(array) for array in (atoms, side_chain, following, bonds, lengths)),
        present=torch.tensor(present),
        box=None if box is None else torch.tensor(box),
        bond_tolerance=BOND_TOLERANCE,
        clash_distance=CLASH_DISTANCE_NM,
    )
    return np.abs(deviation.numpy()) <= BOND_TOLERANCE, clashing.numpy()
