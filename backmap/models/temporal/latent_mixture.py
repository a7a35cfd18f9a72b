"""Distribution of latent codes: Gaussians fitted to the codes of the training data."""

import torch
from torch import Tensor, nn

from backmap.models.normals import normals_from_uniforms


class LatentMixture(nn.Module):
    """Mixture of Gaussians over latent codes.

    Parameters
    ----------
    weights : Tensor, (components,)
        Probability of each Gaussian.
    means : Tensor, (components, latent)
        Means of the Gaussians.
    factors : Tensor, (components, latent, latent)
        Lower Cholesky factors of their covariances.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def __init__(self, weights: Tensor, means: Tensor, factors: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.register_buffer("means", means)
        self.register_buffer("factors", factors)

    @classmethod
    def standard_normal(cls, latent: int) -> "LatentMixture":
        """Return the prior of the autoencoder, N(0, I), used until a mixture is fitted."""
        return cls(torch.ones(1), torch.zeros(1, latent), torch.eye(latent).unsqueeze(0))

    @property
    def uniforms_per_code(self) -> int:
        """Number of uniform random numbers per code."""
        latent = self.means.shape[1]
        return 1 + latent + latent % 2

    def draw(self, uniforms: Tensor) -> Tensor:
        """Draw codes (batch, latent) from uniform numbers (batch, uniforms_per_code) in [0, 1)."""
        cumulative = self.weights.cumsum(0)
        component = torch.searchsorted(cumulative, uniforms[:, 0] * cumulative[-1], right=True)
        component = component.clamp(max=len(cumulative) - 1)
        normals = normals_from_uniforms(uniforms[:, 1:])[:, : self.means.shape[1]]
        return self.means[component] + torch.matmul(self.factors[component], normals.unsqueeze(-1)).squeeze(
            -1
        )
