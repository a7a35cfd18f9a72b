"""Configuration of a DiAMoNDBack model, stored in its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from backmap.limits import Whole
from backmap.models.configuration import Depth, Nanometres, Share, Width


class Network(StrEnum):
    """Network that predicts the noise.

    UNET
        The published network: convolutions over the whole representation of a residue at every step.
    COMPACT
        Reads the environment once per residue; perceptrons on the generated atoms at every step.
    """

    UNET = "unet"
    COMPACT = "compact"


class NearestRule(StrEnum):
    """Rule that selects the environment of a residue.

    BUILT_ATOMS
        The nearest residues by the distance from the residue's C-alpha to the closest atom of residues built
        before it, and to the C-alpha of others. The residue itself is excluded; among equal distances, the
        lower index comes first.
    """

    BUILT_ATOMS = "built-atoms"


@dataclass(frozen=True)
class UNetConfig:
    """The published network.

    Attributes
    ----------
    width : int
        Channels at full length; doubled at every level below.
    levels : int
        Resolutions of the network, each half the length of the previous one.
    groups : int
        Groups of the normalisation.
    heads, head_width : int
        Sizes of the attention.
    """

    width: Width = 32
    levels: Annotated[int, Whole(1, 8)] = 4
    groups: Depth = 8
    heads: Depth = 4
    head_width: Width = 32


@dataclass(frozen=True)
class CompactConfig:
    """The network that reads the environment once per residue.

    Attributes
    ----------
    neighbour_width, queries : int
        Features per neighbour, and number of attention queries over them.
    context_width : int
        Features of the whole environment.
    hidden, layers : int
        Width and number of residual layers of the denoiser.
    dropout : float
        Fraction of neighbours and of context features dropped in training.
    """

    neighbour_width: Width = 96
    queries: Depth = 6
    context_width: Width = 384
    hidden: Width = 384
    layers: Depth = 4
    dropout: Share = 0.1


@dataclass(frozen=True)
class DiamondbackConfig:
    """The whole model.

    Attributes
    ----------
    network, nearest_rule : str
        Values of :class:`Network` and :class:`NearestRule`.
    steps : int
        Steps of the diffusion.
    scale_nm : float
        Length by which coordinates are divided. The last step removes noise of 0.042 times this length.
    reach_nm : float
        Predicted coordinates are clipped to this distance from the frame's origin along each axis.
    redraws : int
        How often a residue that overlaps with built atoms is redrawn; 0 as published.
    unet, compact : UNetConfig, CompactConfig
        Sizes of each network; only one of them is used.
    """

    network: str = Network.UNET.value
    nearest_rule: str = NearestRule.BUILT_ATOMS.value
    steps: Annotated[int, Whole(2, 10_000)] = 50
    scale_nm: Nanometres = 2.0
    reach_nm: Nanometres = 2.0
    redraws: Annotated[int, Whole(0, 1000)] = 0
    unet: UNetConfig = UNetConfig()
    compact: CompactConfig = CompactConfig()

    def __post_init__(self) -> None:
        for name, kind in (("network", Network), ("nearest_rule", NearestRule)):
            known = [member.value for member in kind]
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; known: {', '.join(known)}")
        if self.steps < 2:
            raise ValueError(f"steps is {self.steps}; the diffusion needs at least 2")
