"""A frame of reference that turns with the beads."""

import torch
from torch import Tensor, nn

from backmap.models.temporal.superposition import RigidMotion, move, superpose

_ROUNDS = 20
"""Rounds of superposition and averaging; a few suffice."""

_LEAST_SPREAD_NM = 0.005
"""Added to the spread of each bead, so that no rigid bead outweighs all others."""

_LEAST_EXTENT_NM = 0.01
"""Smallest extent of the reference beads across their longest axis."""


class BeadFrame(nn.Module):
    """Reference beads, on which configurations are superposed by their own beads.

    Beads count by the inverse of their variance about the reference, so that the frame follows the rigid part
    of the molecule (maximum-likelihood superposition with a diagonal covariance: Theobald and Wuttke, PNAS
    2006, 103, 18521).

    Parameters
    ----------
    beads : int
        Number of beads.
    """

    reference: Tensor
    weights: Tensor

    def __init__(self, beads: int) -> None:
        super().__init__()
        self.register_buffer("reference", torch.zeros(beads, 3))
        self.register_buffer("weights", torch.full((beads,), 1 / beads))

    @torch.no_grad()
    def fit(self, frames: Tensor, beads: Tensor) -> None:
        """Set the reference from data; the atoms' mean position becomes the origin.

        Parameters
        ----------
        frames : Tensor, (frames, atoms, 3)
        beads : Tensor, (frames, beads, 3)

        Raises
        ------
        ValueError
            If the beads lie on a line, which has no orientation.
        """
        centre = beads.mean(dim=1, keepdim=True)
        near = (beads - centre).double()
        reference, weights = near[0], self.weights.double()
        for _ in range(_ROUNDS):
            moved = move(superpose(near, reference, weights), near)
            reference = moved.mean(dim=0)
            variance = (moved - reference).square().sum(dim=-1).mean(dim=0)
            weights = 1 / (variance + _LEAST_SPREAD_NM**2)
            weights = weights / weights.sum()
        if (
            len(reference) < 3
            or torch.linalg.svdvals(reference - reference.mean(dim=0))[1] < _LEAST_EXTENT_NM
        ):
            raise ValueError(
                "the beads lie on a line, which has no orientation; use orientation = 'given' or other beads"
            )
        motion = superpose(near, reference, weights)
        self.reference.copy_(reference - move(motion, (frames - centre).double()).mean(dim=(0, 1)))
        self.weights.copy_(weights)

    def forward(self, beads: Tensor) -> RigidMotion:
        """Return the motion of configurations into this frame, by their beads (..., beads, 3)."""
        return superpose(beads, self.reference, self.weights)
