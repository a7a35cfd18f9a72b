"""Configuration of a temporal model, stored in its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from backmap.chemistry import Molecule
from backmap.limits import Real, Whole
from backmap.models.configuration import Depth, Nanometres, Share, Width

MAX_ATOMS = 10_000
"""Maximum number of atoms of a molecule in a model file."""


def _require_known(name: str, value: str, kinds: type[StrEnum]) -> None:
    known = [kind.value for kind in kinds]
    if value not in known:
        raise ValueError(f"{name} is {value!r}; use {' or '.join(known)}")


class Representation(StrEnum):
    """Representation that the networks see and draw.

    VOXELS
        Gaussian densities of the particles on a grid, as published: any molecule, any linear mapping.
    INTERNAL_COORDINATES
        Bond lengths, angles and torsions outwards from the beads, which must be atoms of a bonded molecule.
    """

    VOXELS = "voxels"
    INTERNAL_COORDINATES = "internal-coordinates"


class VoxelNetwork(StrEnum):
    """Networks on voxel densities.

    RESIDUAL
        Residual convolutions at the resolution of the grid, as published.
    SEPARABLE
        Depthwise-separable: filters as large as the grid, shared by all particles, then a perceptron across
        particles. About a thousandth of the arithmetic.
    """

    RESIDUAL = "residual"
    SEPARABLE = "separable"


class Orientation(StrEnum):
    """Orientation in which a configuration of particles is voxelised.

    GIVEN
        As it is, centred on its mean, as published: the networks learn from random rotations that orientation
        does not matter.
    BEADS
        With its beads superposed on reference beads: the model is exactly equivariant to rotations.
    """

    GIVEN = "given"
    BEADS = "beads"


@dataclass(frozen=True)
class VoxelConfig:
    """Networks on voxel densities (J. Phys. Chem. A 2022, 126, 9124).

    Attributes
    ----------
    grid_points : int
        Voxels along each edge of the cubic grid.
    width_nm : float
        Edge length of the grid.
    sigma_nm : float
        Standard deviation of a particle's Gaussian.
    channels : int
        Width of the residual convolutions (the decoder's head is twice as wide), or number of filters of
        separable ones.
    latent : int
        Size of the latent code; a multiple of 8 for residual networks.
    network : str
        A :class:`VoxelNetwork`.
    orientation : str
        An :class:`Orientation`.
    hidden, layers : int
        Width and number of residual layers of the perceptrons of separable networks.
    """

    grid_points: Annotated[int, Whole(4, 256)] = 12
    width_nm: Nanometres = 1.8
    sigma_nm: Nanometres = 0.0707
    channels: Width = 32
    latent: Annotated[int, Whole(1, 4096)] = 32
    network: str = VoxelNetwork.RESIDUAL.value
    orientation: str = Orientation.GIVEN.value
    hidden: Width = 256
    layers: Depth = 2

    def __post_init__(self) -> None:
        _require_known("network", self.network, VoxelNetwork)
        _require_known("orientation", self.orientation, Orientation)
        if self.network == VoxelNetwork.RESIDUAL and self.latent % 8:
            raise ValueError(f"latent is {self.latent}; the decoder needs a multiple of 8")
        if self.network == VoxelNetwork.SEPARABLE and self.channels > self.grid_points**3:
            raise ValueError(
                f"channels is {self.channels}; a grid of {self.grid_points}^3 voxels has no more filters"
            )


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
        Fraction of hidden activations dropped in training.
    regression : bool
        Whether a linear regression on the condition is fitted before training. The networks then model its
        residuals, and the decoder also predicts the variance of each coordinate in each frame. With few
        frames of a large molecule, most of what can be learned is linear.
    """

    hidden: Width = 256
    layers: Depth = 2
    latent: Annotated[int, Whole(1, 4096)] = 32
    dropout: Share = 0.0
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
        Temperature of the simulation that produced the training data.
    mixture_components : int
        Number of Gaussians fitted to the latent codes of the training data.
    library_frames : int
        Number of frames, each with its previous frames, stored to start rollouts from.
    refined_noise : float
        Fraction, from 0 to 1, of the decoder's noise in frames that are then refined: refinement thermalises
        all fast motions itself, and less noise means fewer initial overlaps.
    refined_draws : int
        Draws per frame; the one with the lowest energy is refined.
    voxels, internal : VoxelConfig, InternalConfig
        Sizes of the networks of each representation; only one of them is used.
    """

    representation: str = Representation.VOXELS.value
    previous_frames: Annotated[int, Whole(1, 100)] = 1
    frame_interval_ps: Annotated[float, Real(1e-9, 1e12)] = 1.0
    temperature_kelvin: Annotated[float, Real(1.0, 10_000.0)] = 300.0
    mixture_components: Annotated[int, Whole(1, 10_000)] = 10
    library_frames: Annotated[int, Whole(1, 1_000_000)] = 500
    refined_noise: Share = 1.0
    refined_draws: Annotated[int, Whole(1, 1000)] = 1
    voxels: VoxelConfig = VoxelConfig()
    internal: InternalConfig = InternalConfig()

    def __post_init__(self) -> None:
        _require_known("representation", self.representation, Representation)

    @property
    def latent(self) -> int:
        """Size of the latent code."""
        voxels = self.representation == Representation.VOXELS
        return self.voxels.latent if voxels else self.internal.latent


@dataclass(frozen=True)
class MappingTable:
    """A mapping as stored in a model file; see :meth:`backmap.chemistry.LinearMapping.to_dict`."""

    atoms: Annotated[int, Whole(1, MAX_ATOMS)]
    bead_names: tuple[str, ...]
    bead_atoms: tuple[tuple[int, ...], ...]
    bead_weights: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class MappedMolecule:
    """A molecule and its beads as stored in a model file."""

    molecule: Molecule
    mapping: MappingTable

    def __post_init__(self) -> None:
        if self.molecule.n_atoms != self.mapping.atoms:
            raise ValueError(
                f"the molecule has {self.molecule.n_atoms} atoms, but its mapping has {self.mapping.atoms}"
            )


@dataclass(frozen=True, kw_only=True)
class TemporalDescription(MappedMolecule):
    """Description of a temporal model in its file, besides the weights."""

    model: TemporalConfig
