"""Continuous-filter convolutions over the distances of beads (SchNet)."""

import math

import torch
from torch import Tensor, nn

from backmap.cg.config import SchNetConfig
from backmap.cg.prior import safe_root


class ShiftedSoftplus(nn.Module):
    """``log((1 + exp(x)) / 2)``, smooth and zero at zero."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to each entry."""
        return nn.functional.softplus(x) - math.log(2.0)


class DistanceFilters(nn.Module):
    """The filters of one interaction block: a function of the distance with many values.

    A distance is expanded in Gaussians from zero to the cutoff, which two layers turn into filters. They are
    multiplied by ``(cos(pi r / cutoff) + 1) / 2``.

    Parameters
    ----------
    config : SchNetConfig
        Sizes.
    """

    centres: Tensor

    def __init__(self, config: SchNetConfig) -> None:
        super().__init__()
        self.cutoff_nm = config.cutoff_nm
        self.register_buffer("centres", torch.linspace(0.0, config.cutoff_nm, config.basis), persistent=False)
        spacing = config.cutoff_nm / (config.basis - 1)
        self.sharpness = 0.5 / spacing**2
        self.first = nn.Linear(config.basis, config.features)
        self.activation = ShiftedSoftplus()
        self.second = nn.Linear(config.features, config.features)

    def forward(self, distance: Tensor) -> Tensor:
        """Return the filters (..., features) at distances (...) in nm."""
        basis = torch.exp(-self.sharpness * (distance.unsqueeze(-1) - self.centres).square())
        falling = 0.5 * (torch.cos(distance * (math.pi / self.cutoff_nm)) + 1.0)
        falling = torch.where(distance < self.cutoff_nm, falling, torch.zeros_like(falling))
        return self.second(self.activation(self.first(basis))) * falling.unsqueeze(-1)


class Interaction(nn.Module):
    """One block: every bead gathers the features of the others, weighed by the filters of their distances.

    Parameters
    ----------
    config : SchNetConfig
        Sizes.
    """

    def __init__(self, config: SchNetConfig) -> None:
        super().__init__()
        size = config.features
        self.filters = DistanceFilters(config)
        self.incoming = nn.Linear(size, size, bias=False)
        self.mixing = nn.Linear(size, size)
        self.activation = ShiftedSoftplus()
        self.outgoing = nn.Linear(size, size)

    def forward(self, features: Tensor, distance: Tensor, others: Tensor, pair: Tensor) -> Tensor:
        """Return new features (batch, beads, features); see :meth:`SchNet.forward`."""
        filters = self.filters(distance)[:, pair]
        gathered = (self.incoming(features)[:, others] * filters).sum(dim=2)
        return features + self.outgoing(self.activation(self.mixing(gathered)))


class SchNet(nn.Module):
    """Energy of beads from their kinds and distances, without a unit.

    It does not change with translation, rotation, reflection, or an exchange of beads of the same kind
    (Schütt et al., J. Chem. Phys. 148, 241722, 2018; for beads, Husic et al., ibid. 153, 194101, 2020).

    Parameters
    ----------
    config : SchNetConfig
        Sizes.
    kinds : Tensor, (beads,) int64
        Kind of each bead, numbered from 0.
    """

    kinds: Tensor
    others: Tensor
    pair: Tensor
    first: Tensor
    second: Tensor

    def __init__(self, config: SchNetConfig, kinds: Tensor) -> None:
        super().__init__()
        self.embedding = nn.Embedding(int(kinds.max()) + 1, config.features)
        self.interactions = nn.ModuleList(Interaction(config) for _ in range(config.blocks))
        self.energy = nn.Sequential(
            nn.Linear(config.features, config.features // 2 or 1),
            ShiftedSoftplus(),
            nn.Linear(config.features // 2 or 1, 1, bias=False),
        )
        self.register_buffer("kinds", kinds, persistent=False)
        for name, table in _pair_tables(len(kinds)).items():
            self.register_buffer(name, table, persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        """Return the energies (batch,) of beads (batch, beads, 3) in nm."""
        apart = positions[:, self.first] - positions[:, self.second]
        distance = safe_root(apart.square().sum(-1))
        features = self.embedding(self.kinds).expand(len(positions), -1, -1)
        for interaction in self.interactions:
            features = interaction(features, distance, self.others, self.pair)
        return self.energy(features).sum(dim=[1, 2])


def _pair_tables(n_beads: int) -> dict[str, Tensor]:
    """Number all pairs of beads: both beads of each pair, and for each bead the other beads and its pairs."""
    first, second = torch.triu_indices(n_beads, n_beads, 1)
    number = torch.zeros(n_beads, n_beads, dtype=torch.int64)
    number[first, second] = number[second, first] = torch.arange(len(first))
    apart = ~torch.eye(n_beads, dtype=torch.bool)
    others = torch.arange(n_beads).expand(n_beads, -1)[apart].reshape(n_beads, -1)
    return {"first": first, "second": second, "others": others, "pair": number[apart].reshape(n_beads, -1)}
