"""Torsions that remember: a step in time that leaves a distribution on a circle unchanged.

A distribution over equal bins of a turn is divided into basins, one around each of its maxima. A step has two
parts, each of which leaves the distribution unchanged. First, a torsion may leave its basin and is then drawn
anew. Second, it is drawn anew in a window around it that is placed at random.

With p the probability of a basin, s = sqrt(p), S the sum of s over all basins, and k the rate of leaving
times the interval, the torsion leaves with probability l = k S / (s + k S), and lands in a basin with
probability proportional to p l. The flow from a basin to another is then that from the other back, so that p
is stationary for any k. A basin that becomes improbable is left quickly, and a long interval draws
independently. This is the resolvent (1 - Q)^-1 of the rates Q_ab = k s_b / s_a.
"""

import math

import torch
from torch import Tensor

from backmap import ops
from backmap.models.protein.geometry import classify_angle

DRAWS = 5
"""Random numbers per step: for leaving, the bin to land in, the place in it; the window, the place in it."""

LONGEST_WINDOW = math.radians(75.0)
"""Wider windows would reach the next well of a side chain; between wells, only leaving leads."""

SMOOTHING_DEGREES = 15.0
"""Standard deviation of the kernel that smooths distributions before their maxima are found."""

_SMALLEST = 2.0**-24


def smoothing_passes(bins: int) -> int:
    """Return how often to average neighbours as 1 : 2 : 1, whose variance is half a squared bin."""
    return max(1, round(2 * (SMOOTHING_DEGREES * bins / 360) ** 2))


def find_basins(probabilities: Tensor) -> Tensor:
    """Return the basin of each bin, named by the bin of its maximum.

    The distribution is smoothed first, and every bin belongs to the maximum uphill from it.

    Parameters
    ----------
    probabilities : Tensor, (..., bins)
        Along a full turn; the ends are neighbours.

    Returns
    -------
    Tensor, (..., bins) int64
    """
    return ops.find_basins(probabilities, smoothing_passes=smoothing_passes(probabilities.shape[-1]))


def basin_masses(probabilities: Tensor, basins: Tensor) -> Tensor:
    """Return the probabilities (..., bins) of basins at the bins of their maxima, zero elsewhere."""
    return torch.zeros_like(probabilities).scatter_add(-1, basins, probabilities)


def share_leaving(mass: Tensor, total: Tensor, rate: Tensor) -> Tensor:
    """Return the probability of leaving basins of some probability; all arguments broadcast.

    Parameters
    ----------
    mass : Tensor
        Probability of the basin.
    total : Tensor
        Sum of the square roots of the probabilities of all basins.
    rate : Tensor
        Rate of leaving times the interval.
    """
    out = rate * total
    return out / (mass.sqrt() + out).clamp_min(1e-30)


def normal_deviates(uniforms: Tensor) -> Tensor:
    """Return normal deviates from uniform numbers in [0, 1)."""
    return math.sqrt(2.0) * torch.erfinv((2 * uniforms - 1).clamp(-1 + _SMALLEST, 1 - _SMALLEST))


def share_below(deviates: Tensor) -> Tensor:
    """Return the cumulative normal distribution, in [0, 1)."""
    return (0.5 * (1 + torch.erf(deviates / math.sqrt(2.0)))).clamp(0.0, 1 - _SMALLEST)


def step_angle(
    probabilities: Tensor,
    before: Tensor,
    rate: Tensor,
    window: Tensor,
    uniforms: Tensor,
    longest_window: float = LONGEST_WINDOW,
) -> tuple[Tensor, Tensor]:
    """Move angles by one step in time.

    Leading dimensions broadcast to those of the angles.

    Parameters
    ----------
    probabilities : Tensor, (..., bins)
        Distribution of each angle now.
    before : Tensor, (...)
        Angles before the step in radians.
    rate : Tensor, (...)
        Rate of leaving a basin times the interval.
    window : Tensor, (...)
        Width in radians of the window in which an angle that stays is drawn anew.
    uniforms : Tensor, (..., 5)
        Random numbers in [0, 1).
    longest_window : float
        Largest width of a window in radians.

    Returns
    -------
    Tensor, (...)
        Angles after the step in radians, in [-pi, pi].
    Tensor, (...) bool
        Which of them left their basin.
    """
    return ops.step_angle(
        probabilities.expand(*before.shape, -1),
        before,
        rate.expand_as(before),
        window.expand_as(before).clamp_max(longest_window),
        uniforms.expand(*before.shape, DRAWS),
        smoothing_passes=smoothing_passes(probabilities.shape[-1]),
    )


def shares_of_angle(probabilities: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Return the random numbers that give these angles: for the bin by inverse CDF, and the place in it.

    Parameters
    ----------
    probabilities : Tensor, (..., bins)
        Distribution of each angle.
    angle : Tensor, (...)
        In radians.

    Returns
    -------
    Tensor, (...)
        Cumulative probability at the middle of the bin.
    Tensor, (...)
        Place in the bin, in [0, 1).
    """
    bins = probabilities.shape[-1]
    probabilities = probabilities.expand(*angle.shape, bins)
    chosen = classify_angle(angle, bins).unsqueeze(-1)
    middle = probabilities.cumsum(dim=-1) - 0.5 * probabilities
    place = torch.remainder(angle / (2 * math.pi) + 0.5, 1.0) * bins - chosen.squeeze(-1)
    return middle.gather(-1, chosen).squeeze(-1), place.clamp(0.0, 1 - _SMALLEST)
