"""Everything that shapes a temporal model; stored in its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Representation(StrEnum):
    """What the networks see and draw.

    VOXELS
        Gaussian densities of the particles on a grid, as published: any molecule, any linear mapping.
    INTERNAL_COORDINATES
        Bond lengths, angles and torsions outwards from the beads: beads that are atoms of a bonded molecule.
    """

    VOXELS = "voxels"
    INTERNAL_COORDINATES = "internal-coordinates"


@dataclass(frozen=True)
class VoxelConfig:
    """Networks on voxel densities (J. Phys. Chem. A 2022, 126, 9124).

    Attributes
    ----------
    grid_points : int
        Voxels along each edge of the cubic grid.
    width_nm : float
        Edge of the grid.
    sigma_nm : float
        Standard deviation of a particle's Gaussian.
    channels : int
        Width of the networks; the decoder's head is twice as wide.
    latent : int
        Size of the latent code, a multiple of 8.
    """

    grid_points: int = 12
    width_nm: float = 1.8
    sigma_nm: float = 0.0707
    channels: int = 32
    latent: int = 32

    def __post_init__(self) -> None:
        if self.latent % 8:
            raise ValueError(f"latent is {self.latent}; the decoder needs a multiple of 8")
        if self.grid_points < 4:
            raise ValueError(f"grid_points is {self.grid_points}; the networks need at least 4")


@dataclass(frozen=True)
class InternalConfig:
    """Networks on internal coordinates.

    Attributes
    ----------
    hidden, layers : int
        Width and number of residual layers of the encoder and of the decoder.
    latent : int
        Size of the latent code.
    dropout : float
        Share of the hidden activations that is dropped in training.
    regression : bool
        Whether a linear regression on the condition comes first, fitted before the training. The networks
        then describe what it leaves, and the decoder gives the variance of each coordinate of each frame too.
        With few frames of a large molecule most of what can be learned is linear.
    """

    hidden: int = 256
    layers: int = 2
    latent: int = 32
    dropout: float = 0.0
    regression: bool = False


@dataclass(frozen=True)
class TemporalConfig:
    """The whole temporal model.

    Attributes
    ----------
    representation : str
        A :class:`Representation`.
    previous_frames : int
        Frames before the present one that the networks see.
    frame_interval_ps : float
        Time between frames of the training data.
    temperature_kelvin : float
        Of the simulation that made the training data.
    mixture_components : int
        Gaussians fitted to the latent codes of the training data.
    library_frames : int
        Frames (with those before them) kept to start a rollout from.
    refined_noise : float
        Share of the decoder's noise, from 0 to 1, in frames that are drawn to be refined: the refinement
        brings the heat of all fast motions itself, and less noise means fewer overlaps to begin with.
    refined_draws : int
        Draws of each frame of which the one of lowest energy is refined.
    voxels, internal : VoxelConfig, InternalConfig
        Sizes of the networks of either representation; the other is not used.
    """

    representation: str = Representation.VOXELS.value
    previous_frames: int = 1
    frame_interval_ps: float = 1.0
    temperature_kelvin: float = 300.0
    mixture_components: int = 10
    library_frames: int = 500
    refined_noise: float = 1.0
    refined_draws: int = 1
    voxels: VoxelConfig = VoxelConfig()
    internal: InternalConfig = InternalConfig()

    def __post_init__(self) -> None:
        known = [kind.value for kind in Representation]
        if self.representation not in known:
            raise ValueError(f"representation is {self.representation!r}; {' and '.join(known)} are known")
        if self.previous_frames < 1:
            raise ValueError(f"previous_frames is {self.previous_frames}; at least 1 is needed")
        if not 0 <= self.refined_noise <= 1:
            raise ValueError(f"refined_noise is {self.refined_noise:g}; it is a share, from 0 to 1")
        if self.refined_draws < 1:
            raise ValueError(f"refined_draws is {self.refined_draws}; at least 1 is needed")

    @property
    def latent(self) -> int:
        """Size of the latent code."""
        voxels = self.representation == Representation.VOXELS
        return self.voxels.latent if voxels else self.internal.latent
