"""Everything that shapes a DiAMoNDBack model; stored in its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from backmap.limits import Whole
from backmap.models.configuration import Depth, Nanometres, Share, Width


class Network(StrEnum):
    """Which network predicts the noise.

    UNET
        The published one: convolutions over the whole representation of a residue, at every step.
    COMPACT
        Reads the environment once a residue; perceptrons on the generated atoms at every step.
    """

    UNET = "unet"
    COMPACT = "compact"


class NearestRule(StrEnum):
    """Which residues are a residue's environment.

    BUILT_ATOMS
        The nearest by the distance from the residue's C-alpha to the closest atom of residues built before
        it, to the C-alpha of others; the residue itself is left out, and of equals the lower index is nearer.
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
        Lengths the network works at, each half the one above.
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
    """The network that reads the environment once a residue.

    Attributes
    ----------
    neighbour_width, queries : int
        Features of each neighbour, and attention queries that gather them.
    context_width : int
        Features of the whole environment.
    hidden, layers : int
        Width and number of residual layers of the denoiser.
    dropout : float
        Share of neighbours and of context features left out in training.
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
        How often a residue that overlaps with what stands is drawn again; not at all as published.
    unet, compact : UNetConfig, CompactConfig
        Sizes of either network; the other is not used.
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
