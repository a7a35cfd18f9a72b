"""Pairs of nearby points, with or without a periodic box."""

from __future__ import annotations

from itertools import product

import numpy as np

_MOST_CELLS = 2**19
"""Along an axis, so that the number of a cell fits into 64 bits."""


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
        Indices into ``first`` and ``second``, in ascending order of ``i``.
    shift : ndarray, (pairs, 3)
        Displacement from ``second[j]`` to its image near ``first[i]``.
    """
    moved, number = np.zeros_like(second), np.arange(len(second))
    own_move = np.zeros_like(first)
    if box is not None:
        own_move, (moved, number) = -_lattice_points(first, box), _images(second, radius, box)
    i, image = _pairs_within(first + own_move, second[number] + moved, radius)
    return i, number[image], moved[image] - own_move[i]


def _pairs_within(first: np.ndarray, second: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices (pairs,) of all pairs within a radius, by cells that are at least as wide.

    Cells are numbered along z first, so that the three next to each other along z are one range.
    """
    if not len(first) or not len(second):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    low = np.minimum(first.min(axis=0), second.min(axis=0))
    high = np.maximum(first.max(axis=0), second.max(axis=0))
    width = max(radius, float((high - low).max()) / _MOST_CELLS)
    own, other = (((points - low) / width).astype(np.int64) + 1 for points in (first, second))
    _, n_y, n_z = ((high - low) / width).astype(np.int64) + 3  # with an empty cell at each end
    own_number, other_number = ((cell[:, 0] * n_y + cell[:, 1]) * n_z + cell[:, 2] for cell in (own, other))
    order = np.argsort(other_number, kind="stable")
    sorted_numbers, found = other_number[order], []
    for x, y in product((-1, 0, 1), repeat=2):
        middle = own_number + (x * n_y + y) * n_z
        begin = np.searchsorted(sorted_numbers, middle - 1, side="left")
        length = np.searchsorted(sorted_numbers, middle + 1, side="right") - begin
        i = np.repeat(np.arange(len(first)), length)
        j = order[np.arange(len(i)) + np.repeat(begin - (np.cumsum(length) - length), length)]
        near = ((first[i] - second[j]) ** 2).sum(axis=1) <= radius**2
        found.append((i[near], j[near]))
    i, j = (np.concatenate(indices) for indices in zip(*found, strict=True))
    ascending = np.lexsort((j, i))
    return i[ascending], j[ascending]


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
