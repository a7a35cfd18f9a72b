"""Everything that shapes the protein model; stored in its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PeptidePlaneConfig:
    """Network that draws the rotation of each peptide plane about its C-alpha axis.

    Attributes
    ----------
    classes : int
        Bins of the angle over a full turn.
    neighbours : int
        Nearest C-alphas of the middle of the axis that the network sees.
    neighbour_width, queries, trunk_width, trunk_layers, head_width : int
        Sizes of the layers.
    dropout : float
        Share of neighbours and of trunk activations left out in training.
    hinge_deviation_degrees : float
        Standard deviation allowed to the angle N-CA-C between two peptides.
    twist_deviation_degrees : float
        Standard deviation of N's turn about the axis out of the plane of C and O.
    ramachandran_weight : float
        Factor on the penalty of phi and psi that are rare in good structures.
    ramachandran_percentile : float
        Percentile from which on phi and psi are not penalised.
    ramachandran_least_percentile : float
        Percentile below which the penalty grows no more.
    """

    classes: int = 72
    neighbours: int = 24
    neighbour_width: int = 96
    queries: int = 4
    trunk_width: int = 320
    trunk_layers: int = 2
    head_width: int = 160
    dropout: float = 0.1
    hinge_deviation_degrees: float = 7.0
    twist_deviation_degrees: float = 15.0
    ramachandran_weight: float = 1.0
    ramachandran_percentile: float = 0.1
    ramachandran_least_percentile: float = 1e-5


@dataclass(frozen=True)
class SideChainConfig:
    """Network that draws side-chain torsions one by one; attributes as in the peptide planes' network."""

    classes: int = 36
    neighbours: int = 24
    neighbour_width: int = 112
    queries: int = 4
    trunk_width: int = 384
    trunk_layers: int = 2
    head_width: int = 160
    dropout: float = 0.1


@dataclass(frozen=True)
class PackingConfig:
    """How side-chain candidates are chosen together.

    Attributes
    ----------
    candidates : int
        Side chains drawn for each residue.
    sweeps : int
        Visits to each residue.
    strength_per_nm2 : float
        Energy in nats of an overlap of 1 nm, squared in between.
    """

    candidates: int = 16
    sweeps: int = 4
    strength_per_nm2: float = 300.0


@dataclass(frozen=True)
class ProteinConfig:
    """The whole protein model."""

    peptide_planes: PeptidePlaneConfig = PeptidePlaneConfig()
    side_chains: SideChainConfig = SideChainConfig()
    packing: PackingConfig = PackingConfig()
