"""Interpolation of periodic tables of two angles, as CMAP uses it."""

from __future__ import annotations

import numpy as np

HERMITE = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [-3, 3, -2, -1], [2, -2, 1, 1]], dtype=np.float64)
"""Coefficients of a cubic on [0, 1] from its values at both ends followed by its slopes."""


def bicubic_coefficients(tables: np.ndarray) -> np.ndarray:
    """Interpolate by the product of periodic cubic splines, the bicubic patches of CMAP.

    Parameters
    ----------
    tables : ndarray, (tables, points, points)
        Values at equidistant angles from 0, the first angle along the first axis.

    Returns
    -------
    ndarray, (tables, points, points, 4, 4) float64
        For each cell, c[i, j] of sum_ij c[i, j] s^i t^j, with s and t in [0, 1) from the cell's lower corner.
    """
    derivative = periodic_spline_derivative(tables.shape[-1])
    along_first = derivative @ tables
    corners = np.empty((*tables.shape, 4, 4))
    # Rows: value at the lower and the upper end of the first angle, then slopes; columns likewise.
    for row, values in enumerate((tables, along_first)):
        for column, entries in enumerate((values, values @ derivative.T)):
            for first in (0, 1):
                for second in (0, 1):
                    shifted = np.roll(entries, (-first, -second), axis=(1, 2))
                    corners[..., 2 * row + first, 2 * column + second] = shifted
    return HERMITE @ corners @ HERMITE.T


def periodic_spline_derivative(points: int) -> np.ndarray:
    """Return the matrix that maps equidistant values to the slopes of their periodic cubic spline.

    The slopes m of a spline with unit spacing satisfy m[i-1] + 4 m[i] + m[i+1] = 3 (y[i+1] - y[i-1]).

    Returns
    -------
    ndarray, (points, points) float64
    """
    identity = np.eye(points)
    after, before = np.roll(identity, -1, axis=0), np.roll(identity, 1, axis=0)
    return np.linalg.solve(before + 4 * identity + after, 3 * (after - before))
