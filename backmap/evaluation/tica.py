"""Time-lagged independent components of C-alpha distances: the slow coordinates of a longer peptide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from backmap.errors import InputError

from .bond_angle_histograms import bond_lengths

COMPONENTS = 2
MOST_C_ALPHAS = 50
"""Longer chains are thinned evenly to this many C-alphas: the number of distances grows quadratically."""

FRAMES_PER_DISTANCE = 10
"""With fewer frames, components are combinations of noise; C-alphas are thinned further."""


@dataclass(frozen=True)
class Projection:
    """Trajectories along the leading components.

    Attributes
    ----------
    reference, samples : list of ndarray, (frames, 2)
        Components with mean 0 and variance 1 in the reference.
    time_scales : ndarray, (2,)
        Time scales of the components in the reference, in frames.
    """

    reference: list[np.ndarray]
    samples: list[np.ndarray]
    time_scales: np.ndarray


def thinned(c_alphas: np.ndarray, n_frames: int) -> np.ndarray:
    """Choose evenly spaced C-alphas whose distances a trajectory determines.

    Parameters
    ----------
    c_alphas : ndarray, (residues,) int64
        Atom indices.
    n_frames : int
        Frames of the reference.

    Returns
    -------
    ndarray, (chosen,) int64
        At most 50, with at most a tenth as many pairs as frames, and at least three.
    """
    determined = int((1 + np.sqrt(1 + 8 * n_frames / FRAMES_PER_DISTANCE)) / 2)
    count = min(len(c_alphas), MOST_C_ALPHAS, max(determined, COMPONENTS + 1))
    return c_alphas[np.unique(np.linspace(0, len(c_alphas) - 1, count).round().astype(int))]


def c_alpha_distances(positions: np.ndarray, c_alphas: np.ndarray) -> np.ndarray:
    """Measure the distances between all pairs of C-alphas.

    Parameters
    ----------
    positions : ndarray, (frames, atoms, 3)
        nm.
    c_alphas : ndarray, (residues,) int64
        Atom indices of the C-alphas.

    Returns
    -------
    ndarray, (frames, pairs)
        nm.
    """
    pairs = np.array(list(combinations(c_alphas, 2)), dtype=np.int64).reshape(-1, 2)
    return bond_lengths(positions, pairs)


def project(reference: Sequence[np.ndarray], samples: Sequence[np.ndarray], lag: int) -> Projection:
    """Find the two slowest components of the reference and project both sides onto them.

    Parameters
    ----------
    reference, samples : sequence of ndarray, (frames, features)
    lag : int
        Lag time in frames.

    Returns
    -------
    Projection

    Raises
    ------
    InputError
        If no reference trajectory is longer than the lag time, or the reference varies in fewer than two
        directions.
    """
    from deeptime.decomposition import TICA

    long_enough = [features for features in reference if len(features) > lag]
    if not long_enough:
        raise InputError(
            f"the reference: no trajectory is longer than the lag time of {lag} frames; "
            "give a longer trajectory or a shorter lag time"
        )
    model = TICA(lagtime=lag, dim=COMPONENTS).fit_fetch([each.astype(np.float64) for each in long_enough])
    if model.output_dimension < COMPONENTS:
        raise InputError(
            "the reference: its C-alpha distances vary in fewer than two directions; "
            "give a trajectory in which the molecule moves"
        )
    return Projection(
        reference=[model.transform(each.astype(np.float64)) for each in reference],
        samples=[model.transform(each.astype(np.float64)) for each in samples],
        time_scales=model.timescales(k=COMPONENTS),
    )
