"""Configuration of coarse-grained force fields, as stored with their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from backmap.limits import Real, Whole
from backmap.models.configuration import Depth, Nanometres, Width
from backmap.models.temporal.config import MappedMolecule

FAMILY = "cgschnet"
"""Kind of these models, in their files."""

MOST_BEADS = 500
"""All pairs of beads interact, and their distances are kept at once."""

MOST_NOISE_NM = 0.1
"""Beads with more noise pass through each other."""


@dataclass(frozen=True)
class SchNetConfig:
    """Sizes of the network.

    Attributes
    ----------
    features : int
        Numbers that describe each bead.
    blocks : int
        Interaction blocks.
    basis : int
        Gaussians that a distance is expanded in.
    cutoff_nm : float
        Beads farther apart do not interact; the filters fall to zero there.
    """

    features: Width = 64
    blocks: Depth = 2
    basis: Annotated[int, Whole(2, 1024)] = 32
    cutoff_nm: Nanometres = 1.5


@dataclass(frozen=True)
class CgSchNetConfig:
    """A force field of the beads of one molecule.

    Attributes
    ----------
    temperature_kelvin : float
        Temperature of the simulation that the forces come from; the potential of mean force holds only there.
    noise_nm : float
        The force field is that of beads with Gaussian noise of this standard deviation on every coordinate.
        0: of the beads themselves.
    network : SchNetConfig
        Sizes of the network.
    """

    temperature_kelvin: Annotated[float, Real(1.0, 10_000.0)] = 300.0
    noise_nm: Annotated[float, Real(0.0, MOST_NOISE_NM)] = 0.0
    network: SchNetConfig = SchNetConfig()


@dataclass(frozen=True, kw_only=True)
class CgSchNetDescription(MappedMolecule):
    """Everything about a force field but its weights."""

    force_field: CgSchNetConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.mapping.bead_names) > MOST_BEADS:
            raise ValueError(f"{len(self.mapping.bead_names)} beads are too many; at most {MOST_BEADS}")
