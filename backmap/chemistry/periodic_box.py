"""Periodic boxes of frames, in the form that the operators expect."""

from __future__ import annotations

import numpy as np

from backmap.errors import InputError

NARROWEST_BOX_NM = 1.0
"""Narrower boxes are ignored: programs without a box write placeholders such as zeros or ones."""

_SAME_AS_ZERO_NM = 1e-6


def has_box(vectors: np.ndarray) -> np.ndarray:
    """Return which frames have a box, (frames,) bool, given box vectors (frames, 3, 3) in nm."""
    return np.all(vectors.diagonal(axis1=1, axis2=2) >= NARROWEST_BOX_NM, axis=1)


def box_vectors(lengths: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Return the vectors of boxes, as mdtraj computes them.

    Parameters
    ----------
    lengths : ndarray, (frames, 3)
        Lengths of the vectors a, b and c in nm.
    angles : ndarray, (frames, 3)
        Angles between b and c, c and a, and a and b in degrees.

    Returns
    -------
    ndarray, (frames, 3, 3) float32
        Vectors as rows in nm, the first along x and the second in the plane of x and y; not a number if there
        is no such box.
    """
    a, b, c = np.asarray(lengths, dtype=np.float32).T
    alpha, beta, gamma = np.radians(np.asarray(angles, dtype=np.float32).T)
    zero = np.zeros_like(a)
    with np.errstate(divide="ignore", invalid="ignore"):
        c_x = c * np.cos(beta)
        c_y = c * (np.cos(alpha) - np.cos(beta) * np.cos(gamma)) / np.sin(gamma)
        c_z = np.sqrt(c * c - c_x * c_x - c_y * c_y)
    rows = [(a, zero, zero), (b * np.cos(gamma), b * np.sin(gamma), zero), (c_x, c_y, c_z)]
    vectors = np.stack([np.stack(row, axis=1) for row in rows], axis=1)
    return np.where(np.abs(vectors) < _SAME_AS_ZERO_NM, np.float32(0), vectors)


def reduced_boxes(vectors: np.ndarray, numbers: np.ndarray, name: str) -> np.ndarray:
    """Bring boxes into the reduced form of GROMACS and OpenMM, whose vectors are as orthogonal as possible.

    Parameters
    ----------
    vectors : ndarray, (frames, 3, 3)
        Box vectors as rows in nm: the first along x, the second in the plane of x and y.
    numbers : ndarray, (frames,) int64
        Frame numbers from 0, for messages.
    name : str
        File name, for messages.

    Returns
    -------
    ndarray, (frames, 3, 3) float64
        Boxes of the same lattices.

    Raises
    ------
    InputError
        If the vectors of a box are not oriented that way.
    """
    reduced = np.array(vectors, dtype=np.float64)
    upright = np.isfinite(reduced).all(axis=(1, 2)) & (np.triu(reduced, 1) == 0).all(axis=(1, 2))
    if not upright.all():
        first = int(upright.argmin())
        raise InputError(
            f"{name}: frame {numbers[first] + 1} has the box vectors {reduced[first].round(3).tolist()} nm; "
            "the first must lie along x and the second in the plane of x and y: rotate the frame, or remove "
            "its box"
        )
    a, b, c = reduced.swapaxes(0, 1)
    c -= np.rint(c[:, 1:2] / b[:, 1:2]) * b
    c -= np.rint(c[:, :1] / a[:, :1]) * a
    b -= np.rint(b[:, :1] / a[:, :1]) * a
    return reduced
