"""Normal random numbers from uniform ones, so that they too belong to what they are for."""

from __future__ import annotations

import math

import torch
from torch import Tensor


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
