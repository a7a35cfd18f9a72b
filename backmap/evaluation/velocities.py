"""Root-mean-square velocities: whether a trajectory moves from frame to frame as the reference does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backmap.errors import InputError

from .distributions import Comparison, compare

QUANTILES = 1000


@dataclass(frozen=True)
class Velocities:
    """Distributions of root-mean-square velocities, nm/ps.

    Attributes
    ----------
    plain : Comparison
        As measured.
    scale : float
        Factor on the sample's velocities that best matches the reference.
    scaled : Comparison
        With this factor applied.
    """

    plain: Comparison
    scale: float
    scaled: Comparison


def compare_velocities(
    reference: Sequence[np.ndarray], samples: Sequence[np.ndarray], interval: float
) -> Velocities:
    """Compare root-mean-square velocities.

    Parameters
    ----------
    reference, samples : sequence of ndarray, (frames, atoms, 3)
        Trajectories, nm.
    interval : float
        Time between frames, ps.

    Returns
    -------
    Velocities

    Raises
    ------
    InputError
        If no trajectory of a side has two frames, or the sample does not move.
    """
    first = pooled_velocities(reference, interval, "the reference")
    second = pooled_velocities(samples, interval, "the sample")
    scale = best_scale(first, second)
    return Velocities(compare(first, second), scale, compare(first, scale * second))


def root_mean_square_velocities(positions: np.ndarray, interval: float) -> np.ndarray:
    """Measure sqrt(mean over atoms of |r(t + dt) - r(t)|^2) / dt after centring each frame.

    Parameters
    ----------
    positions : ndarray, (frames, atoms, 3)
        nm.
    interval : float
        Time between frames dt, ps.

    Returns
    -------
    ndarray, (frames - 1,)
        nm/ps. Centring removes the drift of the molecule, but not its rotation.
    """
    centred = positions - positions.mean(axis=1, keepdims=True)
    return np.sqrt((np.diff(centred, axis=0) ** 2).sum(axis=-1).mean(axis=-1)) / interval


def pooled_velocities(trajectories: Sequence[np.ndarray], interval: float, name: str) -> np.ndarray:
    """Pool the velocities of several trajectories; none spans two trajectories."""
    velocities = np.concatenate([root_mean_square_velocities(each, interval) for each in trajectories])
    if not len(velocities):
        raise InputError(f"{name}: velocities need at least two successive frames; give a longer trajectory")
    return velocities


def best_scale(reference: np.ndarray, sample: np.ndarray) -> float:
    """Find the factor s that brings the distribution of s * sample closest to the reference.

    Minimises the second-order Wasserstein distance, which has a closed form in the quantiles of both:
    s = sum(q_reference q_sample) / sum(q_sample^2).

    Raises
    ------
    InputError
        If the sample does not move at all.
    """
    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
    target, found = np.quantile(reference, levels), np.quantile(sample, levels)
    norm = (found**2).sum()
    if norm == 0.0:
        raise InputError("the sample: does not move; all its frames are identical")
    return float((target * found).sum() / norm)
