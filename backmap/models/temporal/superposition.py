"""Rigid superposition of point sets by least squares (Kabsch, Acta Cryst. A 1976, 32, 922)."""

from typing import NamedTuple

import torch
from torch import Tensor


class RigidMotion(NamedTuple):
    """x -> rotation x + translation: rotations (..., 3, 3) and translations (..., 3)."""

    rotation: Tensor
    translation: Tensor


def move(motion: RigidMotion, points: Tensor) -> Tensor:
    """Move points (..., points, 3)."""
    return points @ motion.rotation.transpose(-1, -2) + motion.translation.unsqueeze(-2)


def superpose(mobile: Tensor, target: Tensor) -> RigidMotion:
    """Proper rotation and translation that bring `mobile` (..., points, 3) onto `target` (..., points, 3)."""
    from_centre, to_centre = mobile.mean(dim=-2), target.mean(dim=-2)
    covariance = (mobile - from_centre.unsqueeze(-2)).transpose(-1, -2) @ (target - to_centre.unsqueeze(-2))
    u, _, vh = torch.linalg.svd(covariance)
    sign = torch.linalg.det(u @ vh).sign()
    mirror = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], dim=-1)
    rotation = (u * mirror.unsqueeze(-2) @ vh).transpose(-1, -2)
    translation = to_centre - (rotation @ from_centre.unsqueeze(-1)).squeeze(-1)
    return RigidMotion(rotation, translation)


def root_mean_square_distance(one: Tensor, other: Tensor) -> Tensor:
    """Root-mean-square distance (...) of matching points (..., points, 3), as they lie."""
    return (one - other).square().sum(dim=-1).mean(dim=-1).sqrt()
