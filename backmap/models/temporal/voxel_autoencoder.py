"""Networks on Gaussian densities; the published ones are convolutions (J. Phys. Chem. A 2022, 126, 9124)."""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

import backmap.ops  # noqa: F401  # registers the operators
from backmap.chemistry import LinearMapping
from backmap.models.temporal.autoencoder import Decoded, Observation, Posterior
from backmap.models.temporal.bead_frame import BeadFrame
from backmap.models.temporal.config import Orientation, VoxelConfig, VoxelNetwork
from backmap.models.temporal.grid import check_grid
from backmap.models.temporal.losses import centred
from backmap.models.temporal.separable_networks import SeparableDecoder, SeparableEncoder
from backmap.models.temporal.superposition import move

_LATENT_EDGE = 2
"""Edge of the grid on which the latent code enters the decoder as channels."""

_ENCODER_STRIDES = (1, 2, 1, 2, 1)


class VoxelAutoencoder(nn.Module):
    """Conditional autoencoder of voxel densities, with one channel per particle.

    Parameters
    ----------
    config : VoxelConfig
        Grid and sizes.
    mapping : LinearMapping
        Beads of the atoms.
    previous_frames : int
        Previous frames that the networks see.
    """

    mapping_weights: Tensor
    normals_per_frame: Final = 0

    def __init__(self, config: VoxelConfig, mapping: LinearMapping, previous_frames: int) -> None:
        super().__init__()
        self.config = config
        self.latent = config.latent
        self.width_nm, self.sigma_nm, self.edge = config.width_nm, config.sigma_nm, config.grid_points
        self.atoms: int = mapping.weights.shape[1]
        weights = torch.from_numpy(mapping.weights).to(torch.float32)
        self.register_buffer("mapping_weights", weights, persistent=False)
        self.frame = BeadFrame(mapping.n_beads) if config.orientation == Orientation.BEADS else None
        seen = mapping.n_beads + previous_frames * self.atoms
        self.encoder: VoxelEncoder | SeparableEncoder
        self.decoder: VoxelDecoder | SeparableDecoder
        if config.network == VoxelNetwork.SEPARABLE:
            self.encoder = SeparableEncoder(config, self.atoms + seen)
            self.decoder = SeparableDecoder(config, seen, self.atoms)
        else:
            self.encoder = VoxelEncoder(config, self.atoms + seen)
            self.decoder = VoxelDecoder(config, seen, self.atoms)

    @torch.no_grad()
    def fit(self, frame: Tensor, previous: Tensor) -> None:
        """Fit the frame of reference, if any, to training frames, and check that the grid encloses them.

        Parameters
        ----------
        frame : Tensor, (frames, atoms, 3)
        previous : Tensor, (frames, previous_frames, atoms, 3)

        Raises
        ------
        ValueError
            If the grid does not suit the molecule, or the beads have no orientation.
        """
        beads = self.mapping_weights @ frame
        if self.frame is not None:
            self.frame.fit(frame, beads)
        placed = torch.cat(
            [self._place(frame, beads), self._place(previous[0], self.mapping_weights @ previous[0])]
        )
        check_grid(self.config, float(placed.norm(dim=-1).max()))

    def observe(self, frame: Tensor, beads: Tensor, previous: Tensor) -> Observation:
        """Return the densities [frame, beads, previous] by channel, written in place without a copy."""
        densities = self._densities([self._place(frame, beads)] + self._seen(beads, previous))
        return Observation(densities, densities[:, self.atoms :])

    def condition(self, beads: Tensor, previous: Tensor) -> Tensor:
        """Return the densities [beads, previous] by channel."""
        return self._densities(self._seen(beads, previous))

    def encode(self, observation: Observation) -> Posterior:
        """Return the distribution of the latent code."""
        return self.encoder(observation.everything)

    def decode(
        self, code: Tensor, condition: Tensor, beads: Tensor, normals: Tensor | None = None
    ) -> Decoded:
        """Return the frame of a latent code; the decoder is deterministic."""
        logits = self.decoder(code, condition)
        positions = positions_of(logits.float(), self.width_nm)
        if self.frame is not None:
            motion = self.frame(beads)
            positions = (positions - motion.translation.unsqueeze(-2)) @ motion.rotation
        return Decoded(positions, logits)

    def reconstruction_loss(self, decoded: Decoded, frame: Tensor, observation: Observation) -> Tensor:
        """Return L_vox, the mean squared error of the densities."""
        return functional.mse_loss(decoded.output.float().sigmoid(), observation.everything[:, : self.atoms])

    def _seen(self, beads: Tensor, previous: Tensor) -> list[Tensor]:
        """Return beads and previous frames, each placed on the grid by itself."""
        placed = [self._place(beads, beads)]
        for frame in previous.unbind(1):
            placed.append(self._place(frame, torch.matmul(self.mapping_weights, frame)))
        return placed

    def _place(self, particles: Tensor, beads: Tensor) -> Tensor:
        """Return particles (batch, count, 3) in the frame of their beads, or centred on their mean."""
        if self.frame is None:
            return centred(particles)
        return move(self.frame(beads), particles)

    def _densities(self, particles: list[Tensor]) -> Tensor:
        """Return the densities of sets of particles (batch, count, 3) on the grid."""
        channels = sum([part.shape[1] for part in particles])
        densities = particles[0].new_empty([len(particles[0]), channels, self.edge, self.edge, self.edge])
        first = 0
        for part in particles:
            last = first + part.shape[1]
            write_densities(part.detach(), densities[:, first:last], self.width_nm, self.sigma_nm)
            first = last
        return densities


# These call the operators directly: TorchScript cannot call functions with optional keywords.


def write_densities(coordinates: Tensor, out: Tensor, width_nm: float, sigma_nm: float) -> None:
    """Write the densities of particles; see :func:`backmap.ops.voxelize`."""
    torch.ops.backmap.voxelize_into(coordinates, out, width_nm, sigma_nm)


def positions_of(logits: Tensor, width_nm: float) -> Tensor:
    """Return particle positions from logits of densities; see :func:`backmap.ops.density_to_coordinates`."""
    coordinates, _ = torch.ops.backmap.density_to_coordinates(logits, width_nm, True)
    return coordinates


class ResidualBlock(nn.Module):
    """LeakyReLU(0.5 * (block(x) + skip(x))), block = conv, GroupNorm, LeakyReLU, conv, GroupNorm."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv3d(channels, channels, 3, stride, padding=1),
            nn.GroupNorm(1, channels),
            nn.LeakyReLU(),
            nn.Conv3d(channels, channels, 3, padding=1),
            nn.GroupNorm(1, channels),
        )
        self.skip = nn.Identity() if stride == 1 else nn.Conv3d(channels, channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, edge, edge, edge) to edges divided by the stride."""
        return functional.leaky_relu(0.5 * (self.block(x) + self.skip(x)))


class VoxelEncoder(nn.Module):
    """Maps densities to the distribution of the latent code."""

    highest_log_variance: Final = 10.0

    def __init__(self, config: VoxelConfig, channels_in: int) -> None:
        super().__init__()
        width, edge = config.channels, config.grid_points
        for stride in _ENCODER_STRIDES:
            edge = (edge - 1) // stride + 1
        self.trunk = nn.Sequential(
            nn.Conv3d(channels_in, width, 5, padding=2),
            nn.GroupNorm(1, width),
            nn.LeakyReLU(),
            *(ResidualBlock(width, stride) for stride in _ENCODER_STRIDES),
            nn.Flatten(),
        )
        self.mean = nn.Linear(width * edge**3, config.latent)
        self.log_variance = nn.Linear(width * edge**3, config.latent)

    def forward(self, densities: Tensor) -> Posterior:
        """Map densities (batch, channels, d, d, d) to mean and log variance (batch, latent)."""
        hidden = self.trunk(densities)
        return Posterior(self.mean(hidden), self.log_variance(hidden).clamp(max=self.highest_log_variance))


class VoxelDecoder(nn.Module):
    """Maps latent code and conditioning densities to logits of the atoms' densities."""

    def __init__(self, config: VoxelConfig, channels_in: int, channels_out: int) -> None:
        super().__init__()
        width, edge = config.channels, config.grid_points
        before = (edge - _LATENT_EDGE) // 2
        self.padding = [before, edge - _LATENT_EDGE - before] * 3
        self.code_shape = (config.latent // _LATENT_EDGE**3, _LATENT_EDGE, _LATENT_EDGE, _LATENT_EDGE)
        self.condition = nn.Sequential(
            nn.Conv3d(channels_in, width, 3, padding=1),
            nn.GroupNorm(1, width),
            nn.LeakyReLU(),
            ResidualBlock(width),
            ResidualBlock(width),
        )
        self.code = nn.Conv3d(self.code_shape[0], width, 5, padding=2)
        self.head = nn.Sequential(
            nn.Conv3d(2 * width, 2 * width, 3, padding=1),
            nn.GroupNorm(1, 2 * width),
            nn.LeakyReLU(),
            ResidualBlock(2 * width),
            ResidualBlock(2 * width),
            nn.Conv3d(2 * width, channels_out, 1),
        )

    def forward(self, code: Tensor, condition: Tensor) -> Tensor:
        """Return logits (batch, atoms, d, d, d) for a code (batch, latent) and conditioning densities."""
        spread = functional.pad(code.unflatten(1, self.code_shape), self.padding, mode="replicate")
        return self.head(torch.cat([self.code(spread), self.condition(condition)], dim=1))
