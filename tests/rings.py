"""C-alphas of cyclic peptides."""

import math

import torch


def circle(residues: int) -> torch.Tensor:
    """C-alphas 0.38 nm apart, alternately above and below a circle, (residues, 3) nm."""
    turn = torch.arange(residues) * (2 * math.pi / residues)
    radius = math.sqrt(0.38**2 - 0.16**2) / (2 * math.sin(math.pi / residues))
    height = 0.08 * (-1.0) ** torch.arange(residues)
    return torch.stack([radius * torch.cos(turn), radius * torch.sin(turn), height], dim=1)
