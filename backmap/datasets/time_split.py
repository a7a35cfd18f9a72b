"""Trajectories parted in time: the first part of each to train on, the rest to validate with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def split_in_time(lengths: Sequence[int], train_share: float) -> tuple[list[slice], list[slice]]:
    """Part trajectories that follow each other in one array.

    Parameters
    ----------
    lengths : sequence of int
        Frames of each trajectory.
    train_share : float
        Share of each that comes first.

    Returns
    -------
    list of slice, list of slice
        The first part of each trajectory, and the rest; either may be empty.
    """
    starts = np.cumsum((0, *lengths[:-1])).tolist()
    cuts = [round(length * train_share) for length in lengths]
    first = [slice(start, start + cut) for start, cut in zip(starts, cuts, strict=True)]
    rest = [
        slice(start + cut, start + length) for start, cut, length in zip(starts, cuts, lengths, strict=True)
    ]
    return first, rest
