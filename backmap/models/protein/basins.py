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

import functools
import math

import torch
from torch import Tensor

from backmap.models.protein.geometry import angle_in_class, classify_angle

DRAWS = 5
"""Random numbers per step: for leaving, the bin to land in, the place in it; the window, the place in it."""

LONGEST_WINDOW = math.radians(75.0)
"""Wider windows would reach the next well; between wells, only leaving leads."""

SMOOTHING_DEGREES = 15.0
"""Standard deviation of the kernel that smooths distributions before their maxima are found."""

_SMALLEST = 2.0**-24
_LONGEST = 1e9
"""Largest rate times interval: everything is drawn anew."""


@functools.cache
def _kernel(bins: int) -> Tensor:
    """Return a circulant matrix (bins, bins) that smooths by repeated (1, 2, 1) / 4."""
    passes = max(1, round(2 * (SMOOTHING_DEGREES * bins / 360) ** 2))
    once = 0.5 * torch.eye(bins) + 0.25 * (torch.eye(bins).roll(1, 0) + torch.eye(bins).roll(-1, 0))
    return torch.linalg.matrix_power(once, passes)


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
    bins = probabilities.shape[-1]
    smooth = torch.matmul(probabilities, _kernel(bins).to(probabilities))
    before, after = smooth.roll(1, -1), smooth.roll(-1, -1)
    index = torch.arange(bins, device=probabilities.device).expand_as(probabilities)
    down = (before > smooth) & (before >= after)
    uphill = torch.where(down, index - 1, torch.where(after > smooth, index + 1, index))
    uphill = torch.remainder(uphill, bins)
    reached = 1
    while reached < bins:
        uphill = uphill.gather(-1, uphill)
        reached *= 2
    return uphill


def leaving(probabilities: Tensor, basins: Tensor, rate: Tensor) -> Tensor:
    """Return the probability (..., bins) of leaving the basin of each bin in one step.

    Parameters
    ----------
    probabilities : Tensor, (..., bins)
        The distribution.
    basins : Tensor, (..., bins) int64
        From :func:`find_basins`.
    rate : Tensor, (...)
        Rate of leaving times the interval.
    """
    mass = basin_masses(probabilities, basins)
    total = mass.sqrt().sum(dim=-1, keepdim=True)
    return share_leaving(mass.gather(-1, basins), total, rate.clamp_max(_LONGEST).unsqueeze(-1))


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
    probabilities: Tensor, before: Tensor, rate: Tensor, window: Tensor, uniforms: Tensor
) -> tuple[Tensor, Tensor]:
    """Move angles by one step in time; leading dimensions broadcast.

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

    Returns
    -------
    Tensor, (...)
        Angles after the step in radians, in [-pi, pi).
    Tensor, (...) bool
        Which of them left their basin.
    """
    bins = probabilities.shape[-1]
    probabilities = probabilities.expand(*before.shape, bins)
    basins = find_basins(probabilities)
    leave = leaving(probabilities, basins, rate)
    own = classify_angle(before, bins).unsqueeze(-1)
    left = uniforms[..., 0] < leave.gather(-1, own).squeeze(-1)
    landed = _draw(probabilities * leave, uniforms[..., 1], uniforms[..., 2])
    # The second step follows for all: only after those that stay, it would not be balanced.
    angle = torch.where(left, landed, before)
    return _draw_near(probabilities, angle, window, uniforms[..., 3], uniforms[..., 4]), left


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


def draw_anew(probabilities: Tensor, rate: Tensor, uniforms: Tensor) -> Tensor:
    """Draw angles (...) as if all had left their basins; arguments as for :func:`step_angle`."""
    leave = leaving(probabilities, find_basins(probabilities), rate)
    return _draw(probabilities * leave, uniforms[..., 0], uniforms[..., 1])


def draw_within(probabilities: Tensor, before: Tensor, uniforms: Tensor) -> Tensor:
    """Draw angles (...) anew in the basins of the angles before; arguments as for :func:`step_angle`."""
    probabilities = probabilities.expand(*before.shape, -1)
    own = classify_angle(before, probabilities.shape[-1]).unsqueeze(-1)
    basins = find_basins(probabilities)
    inside = probabilities * (basins == basins.gather(-1, own))
    return _draw(inside, uniforms[..., 0], uniforms[..., 1])


def _draw(weights: Tensor, share: Tensor, place: Tensor) -> Tensor:
    """Draw angles from bins with weights (..., bins): the bin by inverse CDF, and the place in it."""
    cumulative = weights.cumsum(dim=-1)
    target = (share * cumulative[..., -1]).unsqueeze(-1)
    chosen = (cumulative <= target).sum(dim=-1).clamp_max(weights.shape[-1] - 1)
    return angle_in_class(chosen, place, weights.shape[-1])


def _draw_near(probabilities: Tensor, before: Tensor, window: Tensor, place: Tensor, share: Tensor) -> Tensor:
    """Draw angles anew in windows around those before, placed at random."""
    bins = probabilities.shape[-1]
    cumulative = torch.cat([torch.zeros_like(probabilities[..., :1]), probabilities.cumsum(dim=-1)], dim=-1)
    whole = cumulative[..., -1]
    width = window.clamp_max(LONGEST_WINDOW) / (2 * math.pi) * bins
    turn = torch.remainder(before / (2 * math.pi) + 0.5, 1.0) * bins
    start = torch.remainder(turn - place * width, bins)
    below = _cumulative_at(cumulative, start)
    above = _cumulative_at(cumulative, torch.remainder(start + width, bins))
    around = start + width >= bins
    inside = torch.where(around, above + whole, above) - below
    target = torch.remainder(below + share * inside, whole.clamp_min(1e-30)).unsqueeze(-1)
    chosen = ((cumulative[..., 1:] <= target).sum(dim=-1, keepdim=True)).clamp_max(bins - 1)
    weight = probabilities.gather(-1, chosen).clamp_min(1e-30)
    within = ((target - cumulative.gather(-1, chosen)) / weight).clamp(0.0, 1 - _SMALLEST)
    drawn = angle_in_class(chosen, within, bins).squeeze(-1)
    return torch.where(inside > 1e-12, drawn, before)


def _cumulative_at(cumulative: Tensor, turn: Tensor) -> Tensor:
    """Return the cumulative distribution (..., bins + 1) at positions (...) in bins."""
    left = turn.long().clamp(0, cumulative.shape[-1] - 2).unsqueeze(-1)
    low, high = cumulative.gather(-1, left), cumulative.gather(-1, left + 1)
    return (low + (turn.unsqueeze(-1) - left) * (high - low)).squeeze(-1)
