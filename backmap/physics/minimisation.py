"""Minimisation of the energies of many frames at once, each by its own steps."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from backmap.physics.short_range import ShortRangePotential

REMEMBERED_STEPS = 6
"""Steps from which the curvature is estimated."""

LARGEST_STEP_NM = 0.02
"""How far an atom may move in one step."""

FIRST_STEP_NM = 0.004
"""How far the atom with the largest force moves where the curvature is not known."""

SUFFICIENT_DECREASE = 1e-4
"""Share of the decrease expected from the slope that a step must reach (Armijo's rule)."""

SHORTENING = 0.25
"""Factor on a step that raised the energy."""

SHORTEST_STEP = SHORTENING**3
"""A step shortened beyond this is given up, and with it the estimated curvature."""

ROUNDING = 1e-6
"""Relative error of energies in single precision: a step may raise the energy by this."""

WALL_KJ_PER_NM2 = 20_000.0
"""Stiffness of the repulsion of atoms and fixed sites."""

CONVERGED = 1.0
"""Root-mean-square force in kJ/mol/nm at which a frame is left as it is."""


class Springs(NamedTuple):
    """Harmonic springs that tie atoms to points.

    Attributes
    ----------
    points : Tensor, (frames, atoms, 3)
        In nm.
    stiffness : Tensor, (atoms,)
        In kJ/mol/nm^2; 0 for free atoms, infinite for atoms that do not move.
    """

    points: Tensor
    stiffness: Tensor


class FixedSites(NamedTuple):
    """Sites of other molecules in frames.

    Attributes
    ----------
    positions : ndarray, (frames, sites, 3)
        In nm.
    radii : ndarray, (sites,)
        In nm.
    """

    positions: np.ndarray
    radii: np.ndarray


class Walls(NamedTuple):
    """Fixed sites near each atom, which repel it: harmonically, from a distance of contact.

    Attributes
    ----------
    sites : Tensor, (frames, atoms, near, 3)
        In nm.
    contact : Tensor, (frames, atoms, near)
        In nm; 0 where there is no site.
    """

    sites: Tensor
    contact: Tensor


def minimise(
    potential: ShortRangePotential, springs: Springs, iterations: int, walls: Walls | None = None
) -> tuple[Tensor, Tensor]:
    """Minimise energies from the points to which atoms are tied, by L-BFGS.

    All frames are evaluated together, once per iteration. Each has its own steps: it moves as it would if
    it were the only one, to the last bit, because sums over its atoms are taken in a fixed order and nothing
    else combines numbers (Nocedal and Wright, Numerical Optimization, 2006, algorithm 7.4).

    Parameters
    ----------
    potential : ShortRangePotential
        The energy.
    springs : Springs
        Where atoms start, and what holds them.
    iterations : int
        Evaluations of the energy, including the first.
    walls : Walls, optional
        Fixed sites that atoms avoid.

    Returns
    -------
    positions : Tensor, (frames, atoms, 3)
        In nm.
    energy : Tensor, (frames,)
        In kJ/mol, including springs and walls; NaN if it was never finite.
    """
    shape = springs.points.shape
    moves = torch.isfinite(springs.stiffness)
    stiffness = torch.where(moves, springs.stiffness, 0.0)[:, None].expand(-1, 3).flatten()
    free = moves[:, None].expand(-1, 3).flatten()
    start = springs.points.flatten(1)

    def evaluate(positions: Tensor) -> tuple[Tensor, Tensor]:
        energy, gradient = potential(positions.view(shape))
        stretch = positions - start
        pull = stiffness * stretch
        total = energy[:, None] + 0.5 * _dot(pull, stretch)
        if walls is not None:
            overlap, push = _repulsion(positions.view(shape), walls)
            total, gradient = total + 0.5 * WALL_KJ_PER_NM2 * _dot(overlap, overlap), gradient + push
        return total, torch.where(free, gradient.flatten(1) + pull, 0.0)

    positions, (energy, gradient) = start, evaluate(start)
    memory = _Memory(energy)
    direction, slope, length = memory.direction(gradient)
    for _ in range(iterations - 1):
        moving = _dot(gradient, gradient) > CONVERGED**2 * gradient.shape[1]
        if not moving.any():
            break
        step = length * direction
        tried_energy, tried_gradient = evaluate(positions + step)
        allowed = energy + SUFFICIENT_DECREASE * length * slope + ROUNDING * energy.abs()
        taken = moving & (tried_energy <= allowed)
        length = torch.where(taken, length, SHORTENING * length)
        given_up = length < SHORTEST_STEP
        memory.add(step, tried_gradient - gradient, taken, given_up)
        positions = torch.where(taken, positions + step, positions)
        energy = torch.where(taken, tried_energy, energy)
        gradient = torch.where(taken, tried_gradient, gradient)
        new_direction, new_slope, new_length = memory.direction(gradient)
        turns = taken | given_up
        direction = torch.where(turns, new_direction, direction)
        slope = torch.where(turns, new_slope, slope)
        length = torch.where(turns, new_length, length)
    energy = torch.where(energy.isfinite(), energy, torch.nan)
    return positions.view(shape), energy[:, 0]


class _Memory:
    """The last steps of each frame, and the changes of the gradient along them.

    A frame that did not step, or whose step says nothing about a minimum, has an entry of weight zero.
    """

    def __init__(self, energy: Tensor) -> None:
        self._steps: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=REMEMBERED_STEPS)
        self._scale = torch.zeros_like(energy)

    def add(self, step: Tensor, change: Tensor, taken: Tensor, forgotten: Tensor) -> None:
        """Add a step (frames, coordinates) where it was taken; forget all steps of some frames."""
        curvature, square = _dot(step, change), _dot(change, change)
        useful = taken & (curvature > 0)
        weight = torch.where(useful, 1 / curvature, 0.0)
        step, change = torch.where(useful, step, 0.0), torch.where(useful, change, 0.0)
        self._scale = torch.where(useful, curvature / square, self._scale)
        self._steps.append((step, change, weight))
        if forgotten.any():
            self._scale = torch.where(forgotten, 0.0, self._scale)
            kept = [(s, c, torch.where(forgotten, 0.0, w)) for s, c, w in self._steps]
            self._steps = deque(kept, maxlen=REMEMBERED_STEPS)

    def direction(self, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the direction (frames, coordinates) of the next step, the slope along it and its length."""
        rest, shares = -gradient, list[Tensor]()
        for step, change, weight in reversed(self._steps):
            share = weight * _dot(step, rest)
            rest = rest - share * change
            shares.append(share)
        rest = torch.where(self._scale > 0, self._scale, 1.0) * rest
        for (step, change, weight), share in zip(self._steps, reversed(shares), strict=True):
            rest = rest + (share - weight * _dot(change, rest)) * step
        slope = _dot(gradient, rest)
        down = slope < 0
        rest = torch.where(down, rest, -gradient)
        slope = torch.where(down, slope, -_dot(gradient, gradient))
        longest = _largest_move(rest)
        wanted = torch.where(down & (self._scale > 0), longest.clamp(max=LARGEST_STEP_NM), FIRST_STEP_NM)
        factor = torch.where(longest > 0, wanted / longest, 0.0)
        return factor * rest, factor * slope, torch.ones_like(slope)


def _largest_move(steps: Tensor) -> Tensor:
    """Return the largest distance (frames, 1) that an atom moves, given steps (frames, coordinates)."""
    x, y, z = steps.unflatten(1, (-1, 3)).unbind(-1)
    return (x * x + y * y + z * z).amax(dim=1, keepdim=True).sqrt()


def _repulsion(positions: Tensor, walls: Walls) -> tuple[Tensor, Tensor]:
    """Return overlaps (frames, atoms x near) in nm, and the gradient (frames, atoms, 3) of their energy."""
    apart = positions.unsqueeze(2) - walls.sites
    distance = torch.linalg.vector_norm(apart, dim=-1).clamp_min(1e-6)
    overlap = (walls.contact - distance).clamp_min(0.0)
    pushes = (-WALL_KJ_PER_NM2 * overlap / distance).unsqueeze(-1) * apart
    gradient = torch.zeros_like(positions)
    for push in pushes.unbind(dim=2):  # in this order, whatever the batch
        gradient = gradient + push
    return overlap.flatten(1), gradient


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """Return scalar products (frames, 1) of (frames, coordinates), summed by halves.

    The order of torch's own sums depends on the shape of the batch.
    """
    terms = first * second
    count = terms.shape[1]
    while count > 1:
        kept = (count + 1) // 2
        terms[:, : count - kept] += terms[:, kept:count]
        count = kept
    return terms[:, :1].clone()
