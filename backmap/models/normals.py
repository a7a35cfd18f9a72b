"""Normal random numbers from the uniform ones of :mod:`backmap.models.counter_random`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from backmap.models.counter_random import uniform


def normals_from_uniforms(uniforms: Tensor) -> Tensor:
    """Transform pairs of uniform numbers to pairs of normal ones (Box and Muller, 1958).

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
    """Draw normal numbers determined by a key, a purpose and a row number.

    Parameters
    ----------
    keys : Tensor, (...) int64
        See :func:`backmap.models.counter_random.uniform`.
    purpose : int
        Separates the uses of one key.
    rows : Tensor, (...) int64
        Numbers of the rows, shared by all keys.
    size : int
        Numbers per row.

    Returns
    -------
    Tensor, shape of the keys, shape of the rows, (size,)
        Independent, mean 0, variance 1.
    """
    even = size + size % 2  # they come in pairs
    counters = rows.unsqueeze(-1) * even + torch.arange(even, device=rows.device)
    return normals_from_uniforms(uniform(keys, purpose, counters))[..., :size]
