"""Lean networks on voxel densities: depthwise-separable convolutions with kernels as large as the grid.

A few filters, the same for each particle, turn its density into a few numbers, such as its moments.
Perceptrons mix the particles. Each decoded density is the logistic function of a weighted sum of a few
functions on the grid. Filters and functions are learned, and begin as polynomials of low degree: those up to
the second suffice for the logarithm of a Gaussian at any place.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn

from backmap.models.temporal.autoencoder import Posterior
from backmap.models.temporal.config import VoxelConfig
from backmap.models.temporal.residual_network import ResidualNetwork

_FILTER_SCALE = 0.3
"""Root mean square of the initial filters, for features of order 1."""

_FUNCTION_SCALE = 10.0
"""Root mean square of the decoder's initial functions, for coefficients of order 1."""


class SeparableEncoder(nn.Module):
    """Maps densities to the distribution of the latent code."""

    lowest_log_variance: Final = -14.0
    highest_log_variance: Final = 4.0

    def __init__(self, config: VoxelConfig, channels_in: int) -> None:
        super().__init__()
        self.filters = DensityFilters(config)
        size = channels_in * config.channels
        self.network = ResidualNetwork(size, 2 * config.latent, config.hidden, config.layers)

    def forward(self, densities: Tensor) -> Posterior:
        """Map densities (batch, channels, d, d, d) to mean and log variance (batch, latent)."""
        mean, log_variance = self.network(self.filters(densities)).chunk(2, dim=-1)
        return Posterior(mean, log_variance.clamp(self.lowest_log_variance, self.highest_log_variance))


class SeparableDecoder(nn.Module):
    """Maps latent code and conditioning densities to logits of the atoms' densities."""

    def __init__(self, config: VoxelConfig, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.filters = DensityFilters(config)
        size_in = channels_in * config.channels + config.latent
        size_out = channels_out * config.channels
        self.network = ResidualNetwork(size_in, size_out, config.hidden, config.layers)
        self.density_shape = (channels_out, config.grid_points, config.grid_points, config.grid_points)
        self.functions = nn.Parameter(_FUNCTION_SCALE * smooth_functions(config.channels, config.grid_points))
        with torch.no_grad():
            # Double precision, because the last bits of a decomposition depend on where its arguments lie.
            start = log_gaussian(config).double().view(-1, 1)
            coefficients = torch.linalg.lstsq(self.functions.double().T, start).solution.flatten()
            self.network.leave.bias.copy_(coefficients.repeat(channels_out))

    def forward(self, code: Tensor, condition: Tensor) -> Tensor:
        """Return logits (batch, atoms, d, d, d) for a code (batch, latent) and conditioning densities."""
        coefficients = self.network(torch.cat([self.filters(condition), code], dim=-1))
        logits = torch.matmul(coefficients.unflatten(1, (self.density_shape[0], -1)), self.functions)
        return logits.unflatten(2, self.density_shape[1:])


class DensityFilters(nn.Module):
    """Filters as large as the grid, the same for each channel."""

    def __init__(self, config: VoxelConfig) -> None:
        super().__init__()
        self.filters = nn.Parameter(_FILTER_SCALE * smooth_functions(config.channels, config.grid_points))

    def forward(self, densities: Tensor) -> Tensor:
        """Map densities (batch, channels, d, d, d) to their responses (batch, channels x filters)."""
        return torch.matmul(densities.flatten(2), self.filters.T).flatten(1)


def smooth_functions(count: int, grid_points: int) -> Tensor:
    """Return the polynomials (count, grid_points^3) of lowest degree, orthogonal, with a mean square of 1."""
    points = (2 * torch.arange(grid_points, dtype=torch.float64) + 1) / grid_points - 1
    powers = torch.linalg.qr(points.unsqueeze(1) ** torch.arange(grid_points))[0].T * math.sqrt(grid_points)
    degrees = torch.cartesian_prod(*[torch.arange(grid_points)] * 3)
    order = torch.argsort(degrees.sum(dim=1), stable=True)[:count]
    x, y, z = (powers[axis] for axis in degrees[order].T)
    return torch.einsum("ni,nj,nk->nijk", x, y, z).flatten(1).float()


def log_gaussian(config: VoxelConfig) -> Tensor:
    """Return the logarithm (d, d, d) of the density of a particle at the centre of the grid."""
    points = torch.arange(config.grid_points) - (config.grid_points - 1) / 2
    square = (points * config.width_nm / config.grid_points).square()
    distances = square[:, None, None] + square[:, None] + square
    return -distances / (2 * config.sigma_nm**2)
