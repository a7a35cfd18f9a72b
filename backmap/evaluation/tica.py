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


def c_alpha_distances(positions: np.ndarray, c_alphas: np.ndarray) -> np.ndarray:
    """Measure the distances between all pairs of C-alphas.

    Parameters
    ----------
    positions : ndarray, (frames, atoms, 3)
        nm.
    c_alphas : ndarray, (residues,) int64
        Atom indices of the C-alphas; more than 50 are thinned evenly to 50.

    Returns
    -------
    ndarray, (frames, pairs)
        nm.
    """
    chosen = np.unique(
        np.linspace(0, len(c_alphas) - 1, min(len(c_alphas), MOST_C_ALPHAS)).round().astype(int)
    )
    pairs = np.array(list(combinations(c_alphas[chosen], 2)), dtype=np.int64).reshape(-1, 2)
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
