"""Beads at the centres of residues, told apart from C-alphas by the distances along the chain."""

from __future__ import annotations

import math

import numpy as np

from backmap.chemistry import Topology
from backmap.chemistry.topology import number_steps
from backmap.errors import InputError

_CENTRES_APART_NM = (0.45, 0.75)
"""Centres of neighbouring residues are often this far apart, bonded C-alphas hardly ever."""
_CENTRES_WINDOW, _CENTRES_IN_WINDOW, _CENTRES_SHARE = 12, 4, 0.3

_C_ALPHAS_NM, _CENTRES_NM = (0.3805, 0.0174), (0.52, 0.11)
"""Mean and standard deviation of distances between neighbours, if both are C-alphas or not."""
_MOST_DEVIATIONS = 5.0
_CHANGE_COST = 10.0
"""In nats, of a change between C-alphas and centres from one residue to the next."""


def suspect_centres(distance: np.ndarray, topology: Topology) -> tuple[int, int] | None:
    """Find where beads are too far apart for C-alphas.

    Parameters
    ----------
    distance : ndarray, (residues - 1,)
        From each bead to the next, in nm.
    topology : Topology
        The residues.

    Returns
    -------
    (int, int) or None
        First and last residue of the range, or None if all beads can be C-alphas.
    """
    pairs = np.flatnonzero(_neighbours(distance, topology) & (distance < _CENTRES_APART_NM[1]))
    far = distance[pairs] > _CENTRES_APART_NM[0]
    window = min(_CENTRES_WINDOW, len(pairs))
    if far.sum() < _CENTRES_IN_WINDOW:
        return None
    in_window = np.convolve(far, np.ones(window, dtype=np.int64), mode="valid")
    (crowded,) = np.nonzero(in_window >= max(_CENTRES_IN_WINDOW, _CENTRES_SHARE * window))
    if not len(crowded):
        return None
    return int(pairs[crowded[0]]), int(pairs[crowded[-1] + window - 1]) + 1


def refuse_residue_centres(distance: np.ndarray, topology: Topology, file: str) -> None:
    """Refuse atoms named CA that are centres of residues in a file that also contains other atoms."""
    suspects = suspect_centres(distance, topology)
    if suspects is None:
        return
    first, last = suspects
    lengths = distance[first:last]
    raise InputError(
        f"{file}: the atoms named CA from {topology.describe(first)} to {topology.describe(last)} are "
        f"{lengths.min():.2f} to {lengths.max():.2f} nm apart, as residue centres are, but C-alphas are "
        "0.38 nm apart; give the positions of the C-alphas, or only the beads"
    )


def find_c_alphas(distance: np.ndarray, topology: Topology) -> np.ndarray:
    """Tell C-alphas from residue centres in chains that contain both.

    The most probable division into stretches, by distances between neighbours (Viterbi's algorithm).

    Parameters
    ----------
    distance : ndarray, (residues - 1,)
        From each bead to the next, in nm.
    topology : Topology
        The residues.

    Returns
    -------
    ndarray, (residues,) bool
        Which beads are C-alphas.
    """
    both, other = _misfit(distance, *_C_ALPHAS_NM), _misfit(distance, *_CENTRES_NM)
    bonded = _neighbours(distance, topology)
    cost = np.array([0.0, 0.0])  # of residue centre, C-alpha
    back = np.zeros((topology.n_residues, 2), dtype=np.int64)
    for bond in range(topology.n_residues - 1):
        step = np.zeros((2, 2))
        if bonded[bond]:
            step = np.array([[other[bond], other[bond]], [other[bond], both[bond]]]) + _CHANGE_COST * (
                1 - np.eye(2)
            )
        total = cost[:, None] + step
        back[bond + 1] = total.argmin(axis=0)
        cost = total.min(axis=0)
    state = int(cost.argmin())
    states = np.zeros(topology.n_residues, dtype=bool)
    for residue in range(topology.n_residues - 1, -1, -1):
        states[residue] = bool(state)
        state = int(back[residue, state])
    return states


def _misfit(distance: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    off = np.minimum(np.abs(distance - mean) / deviation, _MOST_DEVIATIONS)
    return 0.5 * off**2 + math.log(deviation)


def _neighbours(distance: np.ndarray, topology: Topology) -> np.ndarray:
    """Return which residues (residues - 1,) bool are followed by the next one of their chain."""
    steps = number_steps(topology.residue_numbers, topology.insertion_codes)
    return ~topology.chain_ends[:-1] & (steps == 1) & (distance < 1.0)
