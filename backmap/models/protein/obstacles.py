"""Sites of other molecules, which side chains must not overlap. Can be compiled by TorchScript."""

from typing import NamedTuple

import torch
from torch import Tensor


class Obstacles(NamedTuple):
    """Sites of other molecules.

    Attributes
    ----------
    positions : Tensor, (frames, sites, 3) or (samples, frames, sites, 3) float32
        In nm, relative to the same origin as the C-alphas.
    radii : Tensor, (sites,) float32
        In nm.
    """

    positions: Tensor
    radii: Tensor


def on_device(obstacles: Obstacles, device: torch.device) -> Obstacles:
    """Return the obstacles on a device."""
    return Obstacles(obstacles.positions.to(device), obstacles.radii.to(device))


def of_samples(obstacles: Obstacles, samples: int) -> Obstacles:
    """Repeat the frames for each sample, if samples do not differ: samples x frames, samples first."""
    if obstacles.positions.dim() == 4:
        return Obstacles(obstacles.positions.flatten(0, 1), obstacles.radii)
    return Obstacles(obstacles.positions.repeat(samples, 1, 1), obstacles.radii)


def at_frame(obstacles: Obstacles, frame: int) -> Obstacles:
    """Return the obstacles of one frame."""
    return Obstacles(obstacles.positions[..., frame : frame + 1, :, :], obstacles.radii)
