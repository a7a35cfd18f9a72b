"""Periodic boxes of frames, in the form that the operators expect."""

from __future__ import annotations

import numpy as np

from backmap.errors import InputError

NARROWEST_BOX_NM = 1.0
"""Narrower boxes are ignored: programs without a box write placeholders such as zeros or ones."""


def has_box(vectors: np.ndarray) -> np.ndarray:
    """Return which frames have a box, (frames,) bool, given box vectors (frames, 3, 3) in nm."""
    return np.all(vectors.diagonal(axis1=1, axis2=2) >= NARROWEST_BOX_NM, axis=1)


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
