"""Random streams that change slowly in time, for what is drawn anew in every frame.

Time is divided into periods, each with a stream of its own. A frame's random numbers are those of two
streams, cos(turn) times one plus sin(turn) times the next, and the turn grows from 0 to a quarter turn within
a period. So they are normally distributed in every frame, frames near each other have nearly the same, and
frames two periods apart have nothing in common. A frame needs its time only, not the frames before it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from backmap.models.counter_random import stream_keys


def wandering_streams(seed: int, samples: int, elapsed: Tensor, period: float) -> tuple[Tensor, Tensor]:
    """Return two random streams per sample and frame, and the turn from the one to the other.

    Parameters
    ----------
    seed : int
        Any 64-bit integer.
    samples : int
        Streams per frame.
    elapsed : Tensor, (frames,) float64
        Time of each frame.
    period : float
        In the same unit.

    Returns
    -------
    Tensor, (2, samples, frames) int64
        As from :func:`stream_keys`.
    Tensor, (frames,) float64
        In radians, from 0 to a quarter turn.
    """
    periods = elapsed / period
    number = torch.floor(periods)
    streams = [stream_keys(seed, samples, number.long() + step) for step in (0, 1)]
    return torch.stack(streams), 0.5 * math.pi * (periods - number)


def fresh_time(elapsed: float, period: float) -> float:
    """Return the earliest later time that shares no random numbers with this one."""
    return (math.floor(elapsed / period) + 2) * period
