"""Configuration of the protein model, stored in its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from backmap.limits import Real, Whole
from backmap.models.configuration import Depth, Factor, Share, Width

Classes = Annotated[int, Whole(3, 720)]
Neighbours = Annotated[int, Whole(1, 512)]
Degrees = Annotated[float, Real(0.01, 180.0)]
Percentile = Annotated[float, Real(1e-9, 100.0)]


@dataclass(frozen=True)
class PeptidePlaneConfig:
    """Network that draws the rotation of each peptide plane about its C-alpha axis.

    Attributes
    ----------
    classes : int
        Bins of the angle in a full turn.
    neighbours : int
        C-alphas nearest to the middle of the axis that the network sees.
    neighbour_width, queries, trunk_width, trunk_layers, head_width : int
        Sizes of the layers.
    dropout : float
        Fraction of neighbours and of trunk activations dropped in training.
    hinge_deviation_degrees : float
        Standard deviation of the angle N-CA-C between two peptides.
    twist_deviation_degrees : float
        Standard deviation of the rotation of N about the axis out of the plane of C and O.
    ramachandran_weight : float
        Factor on the penalty of phi and psi that are rare in good structures.
    ramachandran_percentile : float
        Percentile above which phi and psi are not penalised.
    ramachandran_least_percentile : float
        Percentile below which the penalty is constant.
    """

    classes: Classes = 72
    neighbours: Neighbours = 24
    neighbour_width: Width = 96
    queries: Depth = 4
    trunk_width: Width = 320
    trunk_layers: Depth = 2
    head_width: Width = 160
    dropout: Share = 0.1
    hinge_deviation_degrees: Degrees = 7.0
    twist_deviation_degrees: Degrees = 15.0
    ramachandran_weight: Factor = 1.0
    ramachandran_percentile: Percentile = 0.1
    ramachandran_least_percentile: Percentile = 1e-5


@dataclass(frozen=True)
class SideChainConfig:
    """Network that draws side-chain torsions one by one; attributes as in PeptidePlaneConfig."""

    classes: Classes = 36
    neighbours: Neighbours = 24
    neighbour_width: Width = 112
    queries: Depth = 4
    trunk_width: Width = 384
    trunk_layers: Depth = 2
    head_width: Width = 160
    dropout: Share = 0.1


@dataclass(frozen=True)
class ContactConfig:
    """Learned energies of pairs of atoms by their classes and distance.

    Attributes
    ----------
    reach_nm : float
        Distance from which there is no energy.
    knots : int
        Values of each pair of classes, evenly spaced in the squared distance.
    """

    reach_nm: Annotated[float, Real(0.1, 1.5)] = 0.48
    knots: Annotated[int, Whole(2, 1000)] = 32


@dataclass(frozen=True)
class PackingConfig:
    """Joint selection of side-chain candidates.

    Attributes
    ----------
    candidates : int
        Side chains drawn per residue.
    sweeps : int
        Number of visits to each residue.
    strength_per_nm2 : float
        Energy in nats of an overlap of 1 nm; quadratic in the overlap.
    contacts : ContactConfig, optional
        Learned energies that are added to those of overlaps; none by default.
    """

    candidates: Annotated[int, Whole(1, 256)] = 16
    sweeps: Annotated[int, Whole(1, 100)] = 4
    strength_per_nm2: Factor = 1000.0
    contacts: ContactConfig | None = None


@dataclass(frozen=True)
class ProteinConfig:
    """The whole protein model."""

    peptide_planes: PeptidePlaneConfig = PeptidePlaneConfig()
    side_chains: SideChainConfig = SideChainConfig()
    packing: PackingConfig = PackingConfig()
