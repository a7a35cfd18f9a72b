"""Terms of a temporal model's loss (J. Phys. Chem. A 2022, 126, 9124) besides the reconstruction loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from backmap.models.temporal.autoencoder import Posterior


def centred(points: Tensor) -> Tensor:
    """Translate points (..., points, 3) so that their mean is zero."""
    return points - points.mean(dim=-2, keepdim=True)


def coordinate_loss(decoded: Tensor, frame: Tensor) -> Tensor:
    """Return L_aa, the mean squared error of centred coordinates (batch, atoms, 3), in nm^2."""
    return functional.mse_loss(centred(decoded), centred(frame))


def bead_loss(decoded_beads: Tensor, beads: Tensor) -> Tensor:
    """Return L_cg, the mean squared error of the centred beads (batch, beads, 3), in nm^2."""
    return functional.mse_loss(centred(decoded_beads), centred(beads))


def distance_loss(decoded: Tensor, frame: Tensor) -> Tensor:
    """Return L_edm, half the mean squared error of the distance matrices of the atoms, in nm^2."""
    atoms = frame.shape[1]
    pairs = (_distances(decoded) - _distances(frame)).square().sum(dim=-1)
    return pairs.mean() / atoms**2  # the matrix contains each pair twice


def energy_loss(decoded_energy: Tensor, energy: Tensor, mean: Tensor, spread: Tensor, limit: float) -> Tensor:
    """Return L_energy, the mean squared difference of standardised potential energies (batch,).

    Standardised energies are clipped to `limit` standard deviations, because a single overlap of atoms would
    outweigh everything else.
    """
    one, other = (((u - mean) / spread).clamp(-limit, limit) for u in (decoded_energy, energy))
    return functional.mse_loss(one, other)


def divergence(posterior: Posterior, free_nats: float = 0.0) -> Tensor:
    """Return L_kld, the mean Kullback-Leibler divergence of the posterior from N(0, I), in nats.

    A dimension of the code whose mean divergence is below `free_nats` counts with that, and is not pressed
    any further (Kingma et al., NeurIPS 2016, eq. 15).
    """
    mean, log_variance = posterior
    of_dimensions = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean(dim=0)
    return of_dimensions.clamp_min(free_nats).sum()


def _distances(points: Tensor) -> Tensor:
    """Return the distances (batch, pairs) of all pairs of atoms, with a gradient where atoms coincide."""
    first, second = torch.triu_indices(points.shape[1], points.shape[1], offset=1, device=points.device)
    return (points[:, first] - points[:, second]).square().sum(dim=-1).clamp(min=1e-12).sqrt()
