"""Basins of distributions on a circle, and steps of angles in time that leave a distribution unchanged."""

import torch
from torch import Tensor


def find_basins(probabilities: Tensor, *, smoothing_passes: int) -> Tensor:
    """Find the basin of each bin, named by the bin of its maximum.

    The distribution is smoothed first: each pass averages a bin, with weight 2, and its two neighbours. Every
    bin then belongs to the maximum that the higher neighbours lead to. Of equal bins, the one with the lower
    index counts as the higher.

    Parameters
    ----------
    probabilities : Tensor (*, bins), float32 or float64
        Distribution over equal bins of a turn from -pi; the ends are neighbours.
    smoothing_passes : int
        From 0 to 4096.

    Returns
    -------
    Tensor (*, bins), int64

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape or value.
    """
    return torch.ops.backmap.find_basins(probabilities, smoothing_passes)


def step_angle(
    probabilities: Tensor,
    before: Tensor,
    rate: Tensor,
    window: Tensor,
    uniforms: Tensor,
    *,
    smoothing_passes: int,
) -> tuple[Tensor, Tensor]:
    """Move angles by one step in time that leaves their distributions unchanged.

    With m the probability of a basin and S the sum of sqrt(m) over basins, an angle leaves its basin with
    probability l = rate S / (sqrt(m) + rate S). It then lands in a basin with probability proportional
    to m l, and in a bin of it by the distribution. Angles that left and angles that stayed are finally drawn
    anew in a window around them that is placed at random.

    Parameters
    ----------
    probabilities : Tensor (*, bins), float32 or float64
        Distribution of each angle over equal bins of a turn from -pi.
    before : Tensor (*), dtype of `probabilities`
        Angles before the step in radians.
    rate : Tensor (*), dtype of `probabilities`
        Rate of leaving a basin times the interval; above 1e9 like 1e9.
    window : Tensor (*), dtype of `probabilities`
        Width of the window in radians; above a turn like a turn.
    uniforms : Tensor (*, 5), dtype of `probabilities`
        Random numbers in [0, 1): for leaving, the bin to land in, the place in it, the place of the window,
        and the place in it.
    smoothing_passes : int
        As for :func:`find_basins`.

    Returns
    -------
    Tensor (*), dtype of `probabilities`
        Angles after the step in radians, in [-pi, pi]. Where the window has no probability, an angle stays.
    Tensor (*), bool
        Which angles left their basin.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value.

    Notes
    -----
    The results have no gradient. Each angle depends on its own row only, and is the same for any number of
    rows and threads, on the CPU and on CUDA.
    """
    return torch.ops.backmap.step_angle(probabilities, before, rate, window, uniforms, smoothing_passes)
