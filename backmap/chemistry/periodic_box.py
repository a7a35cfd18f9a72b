"""Periodic boxes of frames, as the operators want them."""

from __future__ import annotations

import numpy as np

from backmap.errors import InputError

NARROWEST_BOX_NM = 1.0
"""A narrower box does not count: programs without a box write placeholders such as zeros or ones."""


def has_box(vectors: np.ndarray) -> np.ndarray:
    """Tell which frames (frames,) bool have a box, of box vectors (frames, 3, 3) in nm."""
    return (vectors.diagonal(axis1=1, axis2=2) >= NARROWEST_BOX_NM).all(axis=1)


def reduced_boxes(vectors: np.ndarray, numbers: np.ndarray, name: str) -> np.ndarray:
    """Bring boxes into the reduced form of GROMACS and OpenMM, whose vectors are as upright as can be.

    Parameters
    ----------
    vectors : ndarray, (frames, 3, 3)
        Box vectors as rows in nm: the first along x, the second in the plane of x and y.
    numbers : ndarray, (frames,) int64
        Numbers of the frames, for messages.
    name : str
        Their file, for messages.

    Returns
    -------
    ndarray, (frames, 3, 3) float64
        Boxes of the same lattices.

    Raises
    ------
    InputError
        If the vectors of a box do not lie so.
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
