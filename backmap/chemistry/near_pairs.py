"""Pairs of nearby points, with or without a periodic box."""

from __future__ import annotations

from itertools import product

import numpy as np


def near_pairs(
    first: np.ndarray, second: np.ndarray, radius: float, box: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find pairs of points of two sets within a radius, in linear time.

    Parameters
    ----------
    first, second : ndarray, (points, 3)
        nm.
    radius : float
        nm.
    box : ndarray, (3, 3), optional
        Vectors of a periodic box as rows, nm; all images of ``second`` are then considered.

    Returns
    -------
    i, j : ndarray, (pairs,) int64
        Indices into ``first`` and ``second``.
    shift : ndarray, (pairs, 3)
        Displacement from ``second[j]`` to its image near ``first[i]``.
    """
    from scipy.spatial import cKDTree

    moved, number = np.zeros_like(second), np.arange(len(second))
    own_move = np.zeros_like(first)
    if box is not None:
        own_move, (moved, number) = -_lattice_points(first, box), _images(second, radius, box)
    if not len(first) or not len(number):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty((0, 3))
    found = cKDTree(second[number] + moved).query_ball_point(first + own_move, radius)
    i = np.repeat(np.arange(len(first)), [len(near) for near in found])
    image = np.concatenate([np.asarray(near, dtype=np.int64) for near in found])
    return i, number[image], moved[image] - own_move[i]


def _lattice_points(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the corners (points, 3) of the boxes in which points lie."""
    return np.floor(points @ np.linalg.inv(box)) @ box


def _images(points: np.ndarray, margin: float, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return shifts (images, 3) and indices (images,) of all images within the box and a margin around it."""
    inverse = np.linalg.inv(box)
    within = points @ inverse
    home = -np.floor(within)
    within += home
    wide = margin * np.linalg.norm(inverse, axis=0)  # the margin as a fraction of each vector
    steps = range(-int(np.ceil(wide.max())), int(np.ceil(wide.max())) + 1)
    shifts, numbers = [], []
    for step in product(steps, repeat=3):
        moved = within + step
        inside = np.flatnonzero(((moved >= -wide) & (moved <= 1 + wide)).all(axis=1))
        shifts.append((home[inside] + step) @ box)
        numbers.append(inside)
    return np.concatenate(shifts), np.concatenate(numbers)
