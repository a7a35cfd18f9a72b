"""Rigid superposition of point sets by least squares (Kabsch, Acta Cryst. A 1976, 32, 922)."""

from typing import NamedTuple

import torch
from torch import Tensor


class RigidMotion(NamedTuple):
    """Rigid motion x -> rotation x + translation, with shapes (..., 3, 3) and (..., 3)."""

    rotation: Tensor
    translation: Tensor


def move(motion: RigidMotion, points: Tensor) -> Tensor:
    """Apply a rigid motion to points (..., points, 3)."""
    return points @ motion.rotation.transpose(-1, -2) + motion.translation.unsqueeze(-2)


def superpose(mobile: Tensor, target: Tensor, weights: Tensor | None = None) -> RigidMotion:
    """Return the proper rotation and translation that superpose `mobile` (..., points, 3) on `target`.

    Squared distances are weighted by `weights` (points,), which sum to 1; by default they count alike. The
    motion has the dtype of `mobile`. It is found in double precision: the last bits of a decomposition depend
    on where in memory its arguments lie.
    """
    dtype = mobile.dtype
    mobile, target = mobile.double(), target.double()
    if weights is None:
        from_centre, to_centre = mobile.mean(dim=-2), target.mean(dim=-2)
        arms = mobile - from_centre.unsqueeze(-2)
    else:
        weights = weights.double()
        from_centre, to_centre = torch.matmul(weights, mobile), torch.matmul(weights, target)
        arms = weights.unsqueeze(-1) * (mobile - from_centre.unsqueeze(-2))
    covariance = arms.transpose(-1, -2) @ (target - to_centre.unsqueeze(-2))
    u, _, vh = torch.linalg.svd(covariance)
    sign = torch.linalg.det(u @ vh).sign()
    mirror = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], dim=-1)
    rotation = (u * mirror.unsqueeze(-2) @ vh).transpose(-1, -2)
    translation = to_centre - (rotation @ from_centre.unsqueeze(-1)).squeeze(-1)
    return RigidMotion(rotation.to(dtype), translation.to(dtype))


def root_mean_square_distance(one: Tensor, other: Tensor) -> Tensor:
    """Return the root-mean-square distance (...) of points (..., points, 3), without superposition."""
    return (one - other).square().sum(dim=-1).mean(dim=-1).sqrt()
