"""Normal random numbers from uniform ones, so that they too belong to what they are for."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from backmap.models.counter_random import uniform


def normals_from_uniforms(uniforms: Tensor) -> Tensor:
    """Turn pairs of uniform numbers into pairs of normal ones (Box and Muller, 1958).

    Parameters
    ----------
    uniforms : Tensor, (..., 2 n)
        In [0, 1).

    Returns
    -------
    Tensor, (..., 2 n)
        Independent, mean 0, variance 1.
    """
    first, second = uniforms.chunk(2, dim=-1)
    radius = torch.sqrt(-2.0 * torch.log1p(-first))
    angle = 2.0 * math.pi * second
    return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)


def draw_normals(keys: Tensor, purpose: int, rows: Tensor, size: int) -> Tensor:
    """Draw normal numbers that belong to a key, a purpose and the number of a row.

    Parameters
    ----------
    keys : Tensor, (...) int64
        See :func:`backmap.models.counter_random.uniform`.
    purpose : int
        Separates the uses of one key.
    rows : Tensor, (...) int64
        Numbers of the rows, shared by all keys.
    size : int
        Numbers in a row.

    Returns
    -------
    Tensor, shape of the keys, that of the rows, then (size,)
        Independent, mean 0, variance 1.
    """
    even = size + size % 2  # they come in pairs
    counters = rows.unsqueeze(-1) * even + torch.arange(even, device=rows.device)
    return normals_from_uniforms(uniform(keys, purpose, counters))[..., :size]
